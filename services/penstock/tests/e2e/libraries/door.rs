//! A way to the house that stays where it is while the house moves, and keeps answers to itself or breaks when it is told to.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::house::PATIENCE;

/// More bytes than this have an answer among them.
const ANSWER_BYTES: usize = 100;

pub struct Door {
    pub address: String,
    leads: watch::Sender<Leads>,
    /// How many answers were kept inside.
    kept: watch::Sender<u64>,
}

#[derive(Debug, Clone)]
struct Leads {
    to: String,
    /// How often it was cut.
    cut: u64,
    /// Whether answers stay inside.
    held: bool,
}

impl Door {
    pub async fn open(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (leads, led) = watch::channel(Leads { to: to.to_owned(), cut: 0, held: false });
        let kept = watch::Sender::new(0);
        let keeping = kept.clone();
        tokio::spawn(async move {
            let mut through = JoinSet::new();
            while let Ok((outside, _)) = listener.accept().await {
                through.spawn(Self::pass(outside, led.clone(), keeping.clone()));
            }
        });
        Self { address, leads, kept }
    }

    async fn pass(mut outside: TcpStream, led: watch::Receiver<Leads>, kept: watch::Sender<u64>) {
        let Leads { to, cut, .. } = led.borrow().clone();
        let Ok(mut inside) = TcpStream::connect(&to).await else { return };
        let (mut questions, mut told) = outside.split();
        let (mut answers, mut asked) = inside.split();
        let (mut holding, mut cutting) = (led.clone(), led);
        let tell = async {
            let (mut piece, mut inside) = ([0; 4096], Vec::new());
            loop {
                tokio::select! {
                    read = answers.read(&mut piece) => match read {
                        Ok(bytes @ 1..) => inside.extend_from_slice(&piece[..bytes]),
                        _ => break,
                    },
                    _ = holding.wait_for(|leads| !leads.held), if !inside.is_empty() => {}
                }
                if holding.borrow().held {
                    // An answer comes in several frames, among small ones of HTTP/2's own.
                    if inside.len() > ANSWER_BYTES {
                        kept.send_modify(|kept| *kept += 1);
                    }
                } else if told.write_all(&inside).await.is_err() {
                    break;
                } else {
                    inside.clear();
                }
            }
        };
        tokio::select! {
            biased; // what is held when it is cut is lost
            _ = cutting.wait_for(|leads| leads.cut != cut || leads.to != to) => {}
            () = tell => {}
            _ = tokio::io::copy(&mut questions, &mut asked) => {}
        }
    }

    pub fn lead_to(&self, to: &str) {
        self.leads.send_modify(|leads| to.clone_into(&mut leads.to));
    }

    /// Keeps what the house says inside, until it is cut; returns when there is an answer.
    pub async fn hold(&self) {
        let mut kept = self.kept.subscribe();
        self.leads.send_modify(|leads| leads.held = true);
        timeout(PATIENCE, kept.changed()).await.expect("somebody sends").unwrap();
    }

    /// Breaks every connection through it, whatever is on its way.
    pub fn cut(&self) {
        self.leads.send_modify(|leads| (leads.cut, leads.held) = (leads.cut + 1, false));
    }
}
