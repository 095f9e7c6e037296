use axum::body::{Body, Bytes};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;

/// Bytes of a tar block.
const BLOCK: usize = 512;
/// Bytes sent at once.
const PIECE: usize = 256 << 10;

/// The files of a folder as a tar archive under the folder `name`, sent as they are read. `passing` folders are deleted
/// afterwards.
pub(super) fn stream(folder: PathBuf, name: String, passing: bool) -> Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = write(&folder, &name, &sender) {
            tracing::warn!(folder = %folder.display(), %error, "an export ends early");
            // The client sees a broken answer, not a short archive.
            let _ = sender.blocking_send(Err(error));
        }
        if passing && let Err(error) = fs::remove_dir_all(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "an export's folder stays");
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

fn write(folder: &Path, name: &str, sender: &Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    for path in files {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bytes = fs::metadata(&path)?.len();
        send(sender, header(&format!("{name}/{file}"), bytes))?;
        body(&path, bytes, sender)?;
    }
    // Two empty blocks end an archive.
    send(sender, vec![0; 2 * BLOCK])
}

fn body(path: &Path, bytes: u64, sender: &Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut reader = File::open(path)?.take(bytes);
    let mut sent = 0u64;
    loop {
        let mut piece = vec![0; PIECE];
        let count = reader.read(&mut piece)?;
        if count == 0 {
            break;
        }
        piece.truncate(count);
        sent += count as u64;
        send(sender, piece)?;
    }
    if sent != bytes {
        return Err(io::Error::other(format!(
            "{} changed while it was read",
            path.display()
        )));
    }
    let rest = usize::try_from(bytes % BLOCK as u64).unwrap_or(0);
    send(sender, vec![0; (BLOCK - rest) % BLOCK])
}

fn send(sender: &Sender<io::Result<Bytes>>, bytes: Vec<u8>) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let sent = sender.blocking_send(Ok(Bytes::from(bytes)));
    sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client went away"))
}

/// A tar header of a plain file.
///
/// # Source
/// POSIX.1-1988 (ustar): fixed fields, numbers in octal; sizes from 8 GiB on in GNU's base 256.
fn header(name: &str, bytes: u64) -> Vec<u8> {
    let mut block = vec![0u8; BLOCK];
    let mut put = |from: usize, text: &[u8]| {
        for (place, byte) in block.iter_mut().skip(from).zip(text) {
            *place = *byte;
        }
    };
    put(
        0,
        name.as_bytes()
            .get(..name.len().min(100))
            .unwrap_or_default(),
    );
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if bytes < 1 << 33 {
        put(124, format!("{bytes:011o}\0").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &bytes.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    for (place, byte) in block
        .iter_mut()
        .skip(148)
        .zip(format!("{sum:06o}\0 ").as_bytes())
    {
        *place = *byte;
    }
    block
}
