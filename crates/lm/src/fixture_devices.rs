//! The same numeric cases with packed weights, and on every Vulkan device that there is.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;

use crate::fixtures::{check_greedy_ids, check_logits, each_model};
use crate::{Decoder, Form};

#[test]
fn fixture_models_agree_when_they_are_packed() {
    each_model(|name, case| {
        let packed = Decoder::load_packed(case, Form::F32).unwrap();
        check_logits(name, case, &packed, 1e-4);
        check_greedy_ids(name, case, &packed);
        check_logits(name, case, &Decoder::load(case, &Device::flex()).unwrap().packed(Form::F32), 1e-4);
        // Weights are rounded by up to 2⁻⁹ of themselves; what linear attention carries along adds to it.
        check_logits(name, case, &Decoder::load_packed(case, Form::Bf16).unwrap(), 5e-2);
    });
}

#[cfg(feature = "wgpu")]
#[test]
fn fixture_models_agree_on_vulkan() {
    for device in crate::device::vulkan_devices() {
        each_model(|name, case| {
            // A software device compiles shaders for a minute a model; all of them when they are asked for.
            if name != "qwen3-tied" && std::env::var_os("GAZAL_ALL_DEVICES").is_none() {
                return;
            }
            let decoder = Decoder::load(case, &device).unwrap();
            check_logits(name, case, &decoder, 1e-3);
            check_greedy_ids(name, case, &decoder);
        });
    }
}
