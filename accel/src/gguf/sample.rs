//! Writes small GGUF files for tests.

use crate::kernels::Format;

/// A file under construction; `finish` gives its bytes.
#[derive(Default)]
pub struct Sample {
    values: Vec<u8>,
    value_count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl Sample {
    /// Adds a metadata value of a type number, with its bytes as they are in the file.
    pub fn value(mut self, key: &str, kind: u32, bytes: &[u8]) -> Self {
        put_string(&mut self.values, key);
        self.values.extend_from_slice(&kind.to_le_bytes());
        self.values.extend_from_slice(bytes);
        self.value_count += 1;
        self
    }

    pub fn u32(self, key: &str, value: u32) -> Self {
        self.value(key, 4, &value.to_le_bytes())
    }

    pub fn f32(self, key: &str, value: f32) -> Self {
        self.value(key, 6, &value.to_le_bytes())
    }

    pub fn string(self, key: &str, value: &str) -> Self {
        let mut bytes = Vec::new();
        put_string(&mut bytes, value);
        self.value(key, 8, &bytes)
    }

    pub fn strings(self, key: &str, values: &[&str]) -> Self {
        let mut bytes = 8u32.to_le_bytes().to_vec();
        bytes.extend_from_slice(&(values.len() as u64).to_le_bytes());
        for value in values {
            put_string(&mut bytes, value);
        }
        self.value(key, 9, &bytes)
    }

    /// Adds a tensor of F32 values.
    pub fn tensor(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.packed(name, Format::F32, shape, &bytes)
    }

    /// Adds a tensor of packed values.
    pub fn packed(mut self, name: &str, format: Format, shape: &[usize], bytes: &[u8]) -> Self {
        put_string(&mut self.tensors, name);
        self.tensors.extend_from_slice(&u32::try_from(shape.len()).unwrap_or(0).to_le_bytes());
        for length in shape {
            self.tensors.extend_from_slice(&(*length as u64).to_le_bytes());
        }
        self.tensors.extend_from_slice(&format.number().to_le_bytes());
        self.tensors.extend_from_slice(&(self.data.len() as u64).to_le_bytes());
        self.data.extend_from_slice(bytes);
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self.tensor_count += 1;
        self
    }

    pub fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend_from_slice(&3u32.to_le_bytes());
        file.extend_from_slice(&self.tensor_count.to_le_bytes());
        file.extend_from_slice(&self.value_count.to_le_bytes());
        file.extend_from_slice(&self.values);
        file.extend_from_slice(&self.tensors);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend_from_slice(&self.data);
        file
    }
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}
