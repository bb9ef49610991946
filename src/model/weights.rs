//! Weight files of a backbone, read piece by piece: what a model needs while it loads is little more than what it needs
//! afterwards.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, WithDType};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata};
use sha2::{Digest, Sha256};

use super::layout::{file_error, open};
use super::{FloatType, ModelError, memory};

/// Bytes that are read, hashed and converted at a time.
const PIECE: usize = 1 << 20;

/// No header is longer; the bound of the safetensors format.
const LONGEST_HEADER: u64 = 100_000_000;

/// The tensors of safetensors files on `device`, floating-point ones in `dtype`. The SHA-256 of each file goes into `hasher`.
///
/// # Errors
/// A file that cannot be read, is cut short or longer than its header says, or holds kinds of numbers that are not
/// computed with; [`ModelError::OutOfMemory`] before anything is read where the weights would not fit into what this
/// machine, or its container, has left.
pub(super) fn read_weights(
    files: &[PathBuf],
    dtype: FloatType,
    device: &Device,
    hasher: &mut Sha256,
) -> Result<HashMap<String, Tensor>, ModelError> {
    let mut opened: Vec<_> = files.iter().map(|file| Weights::open(file)).collect::<Result<_, _>>()?;
    if device.is_cpu() {
        memory::require(opened.iter().map(|weights| weights.resident_bytes(dtype)).sum())?;
    }
    let mut tensors = HashMap::new();
    for weights in &mut opened {
        weights.read_into(&mut tensors, dtype, device)?;
        hasher.update(weights.digest.finalize_reset());
    }
    Ok(tensors)
}

/// A file whose header has been read.
struct Weights<'a> {
    path: &'a Path,
    file: File,
    metadata: Metadata,
    digest: Sha256,
}

impl<'a> Weights<'a> {
    fn open(path: &'a Path) -> Result<Self, ModelError> {
        let failed = |error: std::io::Error| file_error(path, error);
        let mut file = open(path)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes < 8 {
            return Err(file_error(path, format!("has {bytes} bytes: no header, cut short")));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(failed)?;
        let header_length = u64::from_le_bytes(length);
        if header_length > LONGEST_HEADER || header_length > bytes - 8 {
            let reason = format!("says that its header is {header_length} bytes long; the file has {bytes}");
            return Err(file_error(path, reason));
        }
        let mut header = vec![0; header_length as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| file_error(path, error))?;
        let expected = 8 + header_length + metadata.data_len() as u64;
        if bytes != expected {
            let reason = format!("has {bytes} bytes, its header says {expected}: cut short, or damaged");
            return Err(file_error(path, reason));
        }
        Ok(Self { path, file, metadata, digest: Sha256::new_with_prefix(length).chain_update(header) })
    }

    /// Bytes of all tensors once they are here.
    fn resident_bytes(&self, dtype: FloatType) -> u64 {
        let size = dtype.dtype().size_in_bytes();
        let bytes = |info: &safetensors::tensor::TensorInfo| match float(info.dtype) {
            Some(_) => size * info.shape.iter().product::<usize>(),
            None => info.data_offsets.1 - info.data_offsets.0,
        };
        self.metadata.tensors().values().map(|info| bytes(info) as u64).sum()
    }

    fn read_into(
        &mut self,
        tensors: &mut HashMap<String, Tensor>,
        dtype: FloatType,
        device: &Device,
    ) -> Result<(), ModelError> {
        for name in self.metadata.offset_keys() {
            let Some(info) = self.metadata.info(&name).cloned() else { continue };
            let bytes = info.data_offsets.1 - info.data_offsets.0;
            let tensor = match float(info.dtype) {
                Some(stored) => match dtype {
                    FloatType::F32 => self.floats::<f32>(bytes, stored, info.shape, device),
                    FloatType::Bf16 => self.floats::<bf16>(bytes, stored, info.shape, device),
                    FloatType::F16 => self.floats::<f16>(bytes, stored, info.shape, device),
                },
                None => self.others(bytes, info.dtype).and_then(|(dtype, bytes)| {
                    Ok(Tensor::from_raw_buffer(&bytes, dtype, &info.shape, device)?)
                }),
            };
            let tensor = tensor.map_err(|error| file_error(self.path, format!("tensor {name}: {error}")))?;
            tensors.insert(name, tensor);
        }
        Ok(())
    }

    /// The next so many bytes as numbers of another kind.
    fn floats<T: WithDType>(
        &mut self,
        bytes: usize,
        dtype: DType,
        shape: Vec<usize>,
        device: &Device,
    ) -> anyhow::Result<Tensor> {
        let mut values = Vec::with_capacity(bytes / dtype.size_in_bytes());
        let mut piece = vec![0; PIECE.min(bytes)];
        let mut left = bytes;
        while left > 0 {
            let piece = &mut piece[..PIECE.min(left)];
            self.next(piece)?;
            let count = piece.len() / dtype.size_in_bytes();
            let numbers = Tensor::from_raw_buffer(piece, dtype, &[count], &Device::Cpu)?;
            values.extend(numbers.to_dtype(T::DTYPE)?.to_vec1::<T>()?);
            left -= piece.len();
        }
        Ok(Tensor::from_vec(values, shape, device)?)
    }

    /// The next so many bytes as they are.
    fn others(&mut self, bytes: usize, dtype: Dtype) -> anyhow::Result<(DType, Vec<u8>)> {
        let known = DType::try_from(dtype)?;
        let mut whole = vec![0; bytes];
        self.next(&mut whole)?;
        Ok((known, whole))
    }

    fn next(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        self.file.read_exact(bytes)?;
        self.digest.update(&*bytes);
        Ok(())
    }
}

/// The kinds of floating-point numbers that are converted.
fn float(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::F64 => Some(DType::F64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn written(directory: &Path, tensors: &[(&str, Tensor)]) -> PathBuf {
        let path = directory.join("model.safetensors");
        let tensors: HashMap<_, _> = tensors.iter().cloned().collect();
        candle_core::safetensors::save(&tensors, &path).unwrap();
        path
    }

    #[test]
    fn every_kind_of_number_is_read_over_pieces_and_the_hash_is_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let long: Vec<f32> = (0..PIECE / 2 + 3).map(|n| (n % 1_000) as f32 / 8.0).collect();
        let long = Tensor::new(long, &Device::Cpu).unwrap();
        let kinds = [DType::F32, DType::F16, DType::BF16, DType::F64];
        let mut tensors: Vec<_> =
            ["a", "b", "c", "d"].into_iter().zip(kinds.map(|kind| long.to_dtype(kind).unwrap())).collect();
        tensors.push(("e", Tensor::new(&[[3u32, 1], [4, 1]], &Device::Cpu).unwrap()));
        tensors.push(("empty", Tensor::new(&[0f32; 0], &Device::Cpu).unwrap()));
        let path = written(directory.path(), &tensors);

        let mut hasher = Sha256::new();
        let found =
            read_weights(std::slice::from_ref(&path), FloatType::F32, &Device::Cpu, &mut hasher).unwrap();
        let found: BTreeMap<_, _> = found.into_iter().collect();
        assert_eq!(found.len(), tensors.len());
        for (name, tensor) in tensors {
            let expected =
                if tensor.dtype().is_float() { tensor.to_dtype(DType::F32).unwrap() } else { tensor };
            assert_eq!(found[name].dtype(), expected.dtype());
            assert_eq!(found[name].dims(), expected.dims());
            let same = found[name].eq(&expected).unwrap().flatten_all().unwrap().to_vec1::<u8>().unwrap();
            assert!(same.iter().all(|&same| same == 1), "{name}");
        }
        let expected = Sha256::digest(Sha256::digest(std::fs::read(&path).unwrap()));
        assert_eq!(hasher.finalize(), expected);
    }

    #[test]
    fn damaged_files_are_refused_with_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path(), &[("a", Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap())]);
        let whole = std::fs::read(&path).unwrap();
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let longer: Vec<u8> = whole.iter().chain(&[0; 4]).copied().collect();
        let mut negative = whole.clone();
        negative[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        for (bytes, words) in [
            (&whole[..whole.len() - 1], "cut short, or damaged"),
            (&longer[..], "cut short, or damaged"),
            (&whole[..header - 3], "says that its header is"),
            (&whole[..4], "has 4 bytes: no header"),
            (&negative[..], "says that its header is 18446744073709551615 bytes long"),
            (&[2, 0, 0, 0, 0, 0, 0, 0, b'[', b']'][..], "model.safetensors"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error =
                read_weights(std::slice::from_ref(&path), FloatType::F32, &Device::Cpu, &mut Sha256::new())
                    .unwrap_err()
                    .to_string();
            assert!(error.contains(words) && error.contains("model.safetensors"), "{error}");
        }
    }

    /// A file that says, truly, that it has 4 TB: holes take no place on the disk.
    #[test]
    fn weights_that_do_not_fit_are_refused_before_they_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        let header = br#"{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header);
        std::fs::write(&path, &bytes).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        if file.set_len(bytes.len() as u64 + 4_000_000_000_000).is_err() {
            println!(
                "skipped: weights_that_do_not_fit_are_refused_before_they_are_read: no sparse files here"
            );
            return;
        }
        let error = read_weights(&[path], FloatType::F32, &Device::Cpu, &mut Sha256::new()).unwrap_err();
        assert!(matches!(error, ModelError::OutOfMemory { needed: 4_000_000_000_000, .. }), "{error}");
    }
}
