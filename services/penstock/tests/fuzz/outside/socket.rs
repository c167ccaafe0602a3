//! One connection: everything is written, then everything is read.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

/// How long the server may have nothing to say before the connection is given up: most of what is sent here has no answer.
const SILENCE: Duration = Duration::from_millis(60);
/// Bytes of an answer that are kept.
const KEPT: usize = 64 << 10;

/// What the server answers. An error only if it can't be reached: that it hangs up is its right.
pub fn exchange(address: &str, input: &[u8]) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let (mut writer, mut reader) = (stream.try_clone()?, stream);
    Ok(thread::scope(|scope| {
        // Beside the reading: a server that answers what it can't read yet must not block on us, nor we on it.
        scope.spawn(move || writer.write_all(input));
        let (mut answer, mut buffer) = (Vec::new(), [0; 16 << 10]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) if answer.len() < KEPT => answer.extend(&buffer[..read]),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = reader.shutdown(std::net::Shutdown::Both); // ends a write that nobody reads
        answer
    }))
}
