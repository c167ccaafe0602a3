//! The disk fails: it is full, or the power is cut and what was not yet on it is gone. On a file system of its own, in a file.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    house::House,
    load::{self, Load, seed},
};

const POWER_CUTS: usize = 3;
const TIMES_FULL: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    if !Disk::can_be() {
        return;
    }
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut house = House::prepared("");
    let disk = Disk::at(&house.data(), 4 << 30);
    house.launch().await;
    let mut load = Load::start(&house, seed);
    let cuts = load::scale("PENSTOCK_KILLS", POWER_CUTS);
    for _ in 0..cuts {
        load.progress(random.random_range(20..150)).await;
        // Nothing is said to anyone after the cut.
        house.freeze();
        disk.cut_power();
        house.kill_warehouse();
        house.kill();
        house.until(|_| disk.comes_back()).await;
        house.launch().await;
        load.field.address.send_replace(house.address.clone());
    }
    load.progress(20).await;
    let books = load.settle(&house).await;
    load::all_may_be_retried(&books);
    house.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_loses_nothing() {
    if !Disk::can_be() {
        return;
    }
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut house = House::prepared("");
    let disk = Disk::at(&house.data(), 2 << 30);
    house.launch().await;
    let mut load = Load::start(&house, seed);
    for _ in 0..TIMES_FULL {
        load.progress(random.random_range(20..100)).await;
        disk.fill();
        load.refused().await;
        disk.empty();
        load.progress(20).await;
    }
    let books = load.settle(&house).await;
    load::all_may_be_retried(&books);
    house.terminate();
}

/// A file system in a file.
struct Disk {
    image: PathBuf,
    mounted_at: PathBuf,
}

impl Disk {
    /// Whether this user and this kernel can have one.
    fn can_be() -> bool {
        let root = std::fs::metadata("/proc/self").is_ok_and(|owner| owner.uid() == 0);
        let can = root && Path::new("/dev/loop-control").exists();
        if !can {
            eprintln!("not run: a file system in a file needs root and loop devices");
        }
        can
    }

    /// A new one of this size.
    fn at(mounted_at: &Path, bytes: u64) -> Self {
        std::fs::create_dir_all(mounted_at).unwrap();
        let image = mounted_at.with_extension("img");
        std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        // Nothing is kept for root, who fills it.
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image));
        let disk = Self { image, mounted_at: mounted_at.to_owned() };
        disk.mount();
        disk
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mounted_at));
    }

    /// From now on nothing reaches it: neither what is written nor what was and is still in memory. The file system's own journal isn't
    /// written out either (FS_IOC_SHUTDOWN, without a flush).
    fn cut_power(&self) {
        const CUT: &str = "import fcntl, os, struct, sys\n\
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run(Command::new("python3").args(["-c", CUT]).arg(&self.mounted_at));
    }

    /// Whether nobody holds it any more: then it is as it was found after the cut.
    fn comes_back(&self) -> bool {
        let gone = Command::new("umount").arg("-q").arg(&self.mounted_at).output().unwrap().status.success();
        if gone {
            self.mount();
        }
        gone
    }

    /// Takes all that is free.
    fn fill(&self) {
        let ballast = std::fs::File::create(self.ballast()).unwrap();
        let zeros = vec![0; 1 << 20];
        for len in [zeros.len(), 4 << 10] {
            while std::io::Write::write_all(&mut &ballast, &zeros[..len]).is_ok() {}
        }
    }

    /// Gives it back.
    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.mounted_at.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // After a failure somebody may hold it: it goes when they have gone.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted_at).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
