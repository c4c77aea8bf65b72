//! From the pipeline's device request to Burn's device, and the streams that models draw from.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use gazal_data::Stream;
use gazal_lm::{Decoder, Form, weights};
use gazal_stage_api::{Backend, Context, Level, Precision, StageError};

/// The device that the context asks for, and can work in the precision that it asks for.
pub fn open(context: &Context) -> Result<Device, StageError> {
    let backend = context.device.backend;
    let device = gazal_lm::device::open(backend.class(), backend.index()).map_err(StageError::failed)?;
    match gazal_lm::device::supports(&device, kept_in(context.device.precision)) {
        true => Ok(device),
        false => Err(StageError::failed(format!("`{backend}` here has no bfloat16: set `precision = \"f32\"`"))),
    }
}

/// What a model's matrices are kept in, in training too.
pub fn kept_in(precision: Precision) -> weights::Precision {
    match precision {
        Precision::F32 => weights::Precision::F32,
        Precision::Bf16 => weights::Precision::Bf16,
    }
}

/// The GPUs that the stage was given besides the one that [`open`] opens, to share so many micro-batches a step.
pub fn others(context: &mut Context, micro_batches: usize) -> Result<Vec<Device>, StageError> {
    let Backend::Cuda(first) = context.device.backend else { return Ok(Vec::new()) };
    let others = context.gpus.iter().filter(|gpu| Some(**gpu) != first);
    let open = |&gpu: &usize| gazal_lm::device::open("cuda", Some(gpu)).map_err(StageError::failed);
    let others = others.map(open).collect::<Result<Vec<_>, _>>()?;
    if micro_batches <= others.len() {
        let gpus = 1 + others.len();
        let text =
            format!("{gpus} GPUs share {micro_batches} micro-batches a step: raise `gradient_accumulation_steps`");
        context.say(Level::Warning, text);
    }
    Ok(others)
}

/// How many micro-batches of a window run side by side there.
pub fn at_once(context: &Context, micro_batches: usize) -> usize {
    gazal_train::at_once(context.device.backend == Backend::Cpu, micro_batches)
}

/// A model that generates and scores and is not trained. On the CPU its weights are packed, in the precision that the
/// context asks for; what is computed is float32 in both.
pub fn load(context: &Context, folder: &Path) -> Result<Decoder, StageError> {
    let form = match context.device.precision {
        Precision::F32 => Form::F32,
        Precision::Bf16 => Form::Bf16,
    };
    match context.device.backend {
        Backend::Cpu => Decoder::load_packed(folder, form),
        _ => Decoder::load_in(folder, &open(context)?, kept_in(context.device.precision)),
    }
    .map_err(StageError::failed)
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
