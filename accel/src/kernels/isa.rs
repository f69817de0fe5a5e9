//! Which instructions the kernels use: found at run time, or asked for by name.

use std::fmt;

#[cfg(target_arch = "x86_64")]
use super::avx2::Ymm;
#[cfg(target_arch = "x86_64")]
use super::avx512::Zmm;
#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::scalar::Scalar;
use super::simd::Kernel;
use crate::error::{Error, Result};

/// A set of instructions that this processor has. It can't be made for one that it has not, so that whoever holds an
/// `Isa` may run its kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Set {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// Plain Rust: on every processor, and what the others are compared with.
    pub const SCALAR: Isa = Isa(Set::Scalar);

    /// Every name that `named` may know, on any processor; slowest first.
    pub const NAMES: [&'static str; 5] = ["scalar", "neon", "avx2", "avx-vnni", "avx512-vnni"];

    /// The fastest that this processor has.
    #[must_use]
    pub fn detect() -> Isa {
        Self::available().pop().unwrap_or(Self::SCALAR)
    }

    /// All that this processor has, slowest first.
    #[must_use]
    pub fn available() -> Vec<Isa> {
        Set::ALL.iter().copied().filter(|set| set.is_available()).map(Isa).collect()
    }

    /// All that this processor has and that give the same bits as this one, slowest first.
    #[must_use]
    pub fn alike(self) -> Vec<Isa> {
        Self::available().into_iter().filter(|isa| (*isa == Self::SCALAR) == (self == Self::SCALAR)).collect()
    }

    /// # Errors
    /// `Unsupported` when there is no such set, or this processor lacks it.
    pub fn named(name: &str) -> Result<Isa> {
        Self::available()
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| Error::Unsupported(format!("this processor has no '{name}' kernels")))
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
        }
    }

    /// Runs a kernel compiled for these instructions.
    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY (of all four): an `Isa` exists only where `is_available` has seen its features.
        match self.0 {
            Set::Scalar => kernel.run(Scalar),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => unsafe { avx_vnni(kernel) },
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => unsafe { avx512_vnni(kernel) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => unsafe { neon(kernel) },
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(target_arch = "x86_64")]
impl Set {
    const ALL: &'static [Set] = &[Set::Scalar, Set::Avx2, Set::AvxVnni, Set::Avx512Vnni];

    fn is_available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        match self {
            Set::Scalar => true,
            Set::Avx2 => avx2,
            Set::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
            Set::Avx512Vnni => {
                avx2 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Set {
    const ALL: &'static [Set] = &[Set::Scalar, Set::Neon];

    fn is_available(self) -> bool {
        match self {
            Set::Scalar => true,
            Set::Neon => std::arch::is_aarch64_feature_detected!("dotprod"),
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl Set {
    const ALL: &'static [Set] = &[Set::Scalar];

    fn is_available(self) -> bool {
        true
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own features.
    kernel.run(unsafe { Ymm::<false>::new() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn avx_vnni<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own features.
    kernel.run(unsafe { Ymm::<true>::new() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn avx512_vnni<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own features.
    kernel.run(unsafe { Zmm::new() })
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
fn neon<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own features.
    kernel.run(unsafe { Neon::new() })
}
