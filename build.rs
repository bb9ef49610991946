//! Generates the gRPC types and services from `proto/` (no system protoc needed).

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    // The migrations are embedded by a macro, which Cargo does not see.
    println!("cargo::rerun-if-changed=migrations");

    let mut files: Vec<PathBuf> =
        fs::read_dir("proto/pref/v1")?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();

    let mut compiler = protox::Compiler::new([Path::new("proto")])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;

    // For gRPC reflection.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("pref_descriptor.bin"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
