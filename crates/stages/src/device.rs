//! From the pipeline's device request to Burn's device, and the streams that models draw from.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::tensor::Device;
use gazal_data::Stream;
use gazal_stage_api::{Backend, Context, Precision, StageError};

/// The device that the context asks for.
pub fn open(context: &Context) -> Result<Device, StageError> {
    if context.device.precision == Precision::Bf16 {
        return Err(StageError::failed("`precision = \"bf16\"` is not supported yet: use f32"));
    }
    let index = match context.device.backend {
        Backend::Cpu => None,
        Backend::Wgpu(index) | Backend::Cuda(index) => index,
    };
    gazal_lm::device::open(context.device.backend.class(), index).map_err(StageError::failed)
}

/// The random numbers of tensors by name, all from one seed and purpose.
pub fn tensor_numbers(seed: u64, purpose: &str) -> impl Fn(&str, u64) -> f64 {
    let streams: RefCell<BTreeMap<String, Stream>> = RefCell::new(BTreeMap::new());
    let purpose = purpose.to_string();
    move |name, index| {
        let mut streams = streams.borrow_mut();
        if !streams.contains_key(name) {
            streams.insert(name.to_string(), Stream::new(seed, &format!("{purpose} {name}")));
        }
        streams.get(name).map_or(0.0, |stream| stream.uniform(0, index))
    }
}
