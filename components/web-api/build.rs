//! Puts the built console into the program: every file of components/console/dist (or of `RINGDOWN_CONSOLE_DIST`), as it is and
//! compressed. Where it was not built, the list is empty and the program says so to browsers.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

fn main() {
    println!("cargo::rerun-if-env-changed=RINGDOWN_CONSOLE_DIST");
    let beside = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it")).join("../console/dist");
    let dist = std::env::var_os("RINGDOWN_CONSOLE_DIST").map_or(beside, PathBuf::from);
    println!("cargo::rerun-if-changed={}", dist.display());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says it"));
    let mut files = Vec::new();
    if dist.is_dir() {
        collect(&dist, &mut files);
        files.sort();
    }
    let mut list = String::from("static FILES: &[File] = &[\n");
    for (number, file) in files.iter().enumerate() {
        let name = file.strip_prefix(&dist).expect("it was found there").to_string_lossy().into_owned();
        embed(&mut list, &out, number, file, &name);
    }
    list.push_str("];\n");
    std::fs::write(out.join("console_files.rs"), list).expect("the list can be written");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

fn embed(list: &mut String, out: &Path, number: usize, file: &Path, name: &str) {
    let bytes = std::fs::read(file).expect("a file can be read");
    let tag: String = Sha256::digest(&bytes).iter().take(12).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    });
    // Fonts and pictures are compressed already.
    let is_text =
        [".html", ".js", ".css", ".svg", ".json", ".txt", ".webmanifest"].iter().any(|end| name.ends_with(end));
    let keep = |kind: &str, bytes: &[u8]| {
        let path = out.join(format!("console_{number}.{kind}"));
        std::fs::write(&path, bytes).expect("a file can be written");
        format!("include_bytes!({:?})", path.display().to_string())
    };
    let plain = keep("plain", &bytes);
    let (brotli, gzip) = if is_text {
        (format!("Some({})", keep("br", &brotli(&bytes))), format!("Some({})", keep("gz", &gzip(&bytes))))
    } else {
        ("None".to_owned(), "None".to_owned())
    };
    writeln!(
        list,
        "    File {{ name: {name:?}, tag: \"\\\"{tag}\\\"\", plain: {plain}, brotli: {brotli}, gzip: {gzip} }},"
    )
    .expect("a String takes everything");
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut packed, 65_536, 11, 22);
    writer.write_all(bytes).expect("a Vec takes everything");
    drop(writer);
    packed
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    writer.write_all(bytes).expect("a Vec takes everything");
    writer.finish().expect("a Vec takes everything")
}
