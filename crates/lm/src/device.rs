//! The one place where backends are named.
//!
//! Since Burn 0.22 the backend is a value, [`Device`]. `cpu` is always Burn's flex backend; `wgpu` and `cuda` are
//! there when the Cargo feature of that name is on. A backend is one feature and one arm of [`list`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor};

use crate::LmError;
use crate::weights::{Precision, largest_difference};

/// Part of the key of every stage that computes: what may change numbers without a kind's revision changing.
pub const NUMERICS: &str = "burn 0.22.1, kernels 4";

/// The classes of backends, compiled in or not.
pub const CLASSES: [&str; 3] = ["cpu", "wgpu", "cuda"];

/// A device of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The adapter's own name.
    pub name: String,
    /// A driver that computes on the CPU, such as Mesa's lavapipe: for tests, far slower than `cpu`.
    pub software: bool,
}

/// The devices of a class; a device's position is its index in `wgpu:0` and [`open`].
///
/// # Errors
/// [`LmError::Device`] when this build lacks the backend (it names the Cargo feature).
pub fn enumerate(class: &str) -> Result<Vec<Found>, LmError> {
    let found = |device: Device| Found { name: name(&device), software: is_software(&device) };
    Ok(list(class)?.into_iter().map(found).collect())
}

/// Opens a device of a class (`cpu`, `wgpu`, `cuda`) by its index; without one, the first that is no software
/// driver, else the first.
///
/// # Errors
/// [`LmError::Device`] when this build lacks the backend (it names the Cargo feature) or the machine lacks the
/// device.
pub fn open(class: &str, index: Option<usize>) -> Result<Device, LmError> {
    let devices = list(class)?;
    let first = || devices.iter().position(|device| !is_software(device)).unwrap_or(0);
    let device = devices.get(index.unwrap_or_else(first)).cloned();
    device.ok_or_else(|| LmError::Device(missing(class, index, devices.len())))
}

fn missing(class: &str, index: Option<usize>, count: usize) -> String {
    match (index, count) {
        (Some(index), 1..) => format!("there is no `{class}:{index}` here: indices go from 0 to {}", count - 1),
        _ => format!("this machine has no {class} device, or no driver for it"),
    }
}

/// Does `work`; for the CPU as one of the threads that share its products: whoever is none of them hands every single
/// product over, sleeps, and is woken up for its result.
pub fn within<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    if is_cpu(device) { rayon::scope(|_| work()) } else { work() }
}

/// The CPU.
pub(crate) fn cpu() -> Device {
    Device::flex()
}

/// Whether `device` is the CPU's, with or without autodiff.
pub fn is_cpu(device: &Device) -> bool {
    device.clone().inner() == cpu()
}

/// The sum of vectors of one length, each of which may be on a device of its own; it is on the first one's. Devices of
/// CUDA sum among themselves by NCCL.
pub fn sum(mut parts: Vec<Tensor<1>>) -> Option<Tensor<1>> {
    let device = parts.first()?.device();
    if parts.iter().any(|part| part.device() != device) {
        parts = summed_by_devices(parts);
    }
    parts.into_iter().reduce(|sum, part| sum + part)
}

/// The sum of all, on the first's device. By Burn's collectives, which need all devices at the same time; no test has had
/// two.
#[cfg(feature = "cuda")]
fn summed_by_devices(parts: Vec<Tensor<1>>) -> Vec<Tensor<1>> {
    use burn::tensor::distributed::{ReduceOperation, all_reduce};
    let devices: Vec<Device> = parts.iter().map(Tensor::device).collect();
    let sum = |part: Tensor<1>| all_reduce(part, ReduceOperation::Sum, devices.clone()).resolve();
    std::thread::scope(|scope| {
        let running: Vec<_> = parts.into_iter().map(|part| scope.spawn(|| sum(part))).collect();
        let sums: Vec<_> = running.into_iter().map(|sum| sum.join()).collect();
        sums.into_iter().take(1).map(|sum| sum.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// All of them on the first's device: no other class of devices has collectives.
#[cfg(not(feature = "cuda"))]
fn summed_by_devices(parts: Vec<Tensor<1>>) -> Vec<Tensor<1>> {
    let first = parts.first().map(Tensor::device);
    parts.into_iter().map(|part| first.iter().fold(part, |part, device| part.to_device(device))).collect()
}

/// Whether a device can hold and multiply numbers of a precision.
pub fn supports(device: &Device, precision: Precision) -> bool {
    device.supports_dtype(precision.dtype())
}

/// Computes a small product and its gradient on `device` and gives the largest difference from the CPU's.
///
/// # Errors
/// [`LmError::Device`] when the device cannot be used or is off by more than 1e-3.
pub fn probe(device: &Device) -> Result<f32, LmError> {
    let values = guarded(|| product_and_gradient(device))
        .map_err(|why| LmError::Device(format!("the device failed at a 16×16 product: {why}")))?;
    let expected = product_and_gradient(&Device::flex());
    let worst = largest_difference(&values, &expected);
    if worst < 1e-3 {
        Ok(worst)
    } else {
        Err(LmError::Device(format!("a 16×16 product is off by {worst} from the CPU's")))
    }
}

fn product_and_gradient(device: &Device) -> Vec<f32> {
    use burn::tensor::TensorData;
    let device = device.clone().autodiff();
    let numbers = |offset: usize| (0..256).map(|i| ((i * 37 + offset) % 101) as f32 / 101.0 - 0.5).collect::<Vec<_>>();
    let a = Tensor::<2>::from_data(TensorData::new(numbers(0), [16, 16]), &device).require_grad();
    let b = Tensor::<2>::from_data(TensorData::new(numbers(7), [16, 16]), &device);
    let product = a.clone().matmul(b);
    let gradients = product.clone().powi_scalar(2).sum().backward();
    let mut values = read(product.inner());
    if let Some(gradient) = a.grad(&gradients) {
        values.extend(read(gradient.inner()));
    }
    values
}

fn read(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec_as::<f32>().unwrap_or_default()
}

/// Calls into drivers, which panic where they should return an error: the panic becomes one, and prints nothing.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    /// The panic hook is the process's: one at a time may replace it and put it back.
    static HOOK: Mutex<()> = Mutex::new(());
    let _turn = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(call));
    std::panic::set_hook(hook);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        text.and_then(|text| text.lines().next()).unwrap_or("it gives no reason").to_string()
    })
}

/// Every device of a class, in the order of its indices.
fn list(class: &str) -> Result<Vec<Device>, LmError> {
    match class {
        "cpu" => Ok(vec![Device::flex()]),
        "wgpu" => wgpu(),
        "cuda" => cuda(),
        other => Err(LmError::Device(format!("there is no backend `{other}`: use {}", CLASSES.join(", ")))),
    }
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Vec<Device>, LmError> {
    listed(burn::tensor::DeviceType::Wgpu)
}

#[cfg(not(feature = "wgpu"))]
fn wgpu() -> Result<Vec<Device>, LmError> {
    Err(LmError::Device("this build has no wgpu: build it with `--features wgpu`".into()))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Vec<Device>, LmError> {
    listed(burn::tensor::DeviceType::Cuda)
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Vec<Device>, LmError> {
    Err(LmError::Device("this build has no CUDA: build it with `--features cuda`".into()))
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn listed(class: burn::tensor::DeviceType) -> Result<Vec<Device>, LmError> {
    guarded(|| Device::enumerate(class).into_iter().collect())
        .map_err(|why| LmError::Device(format!("the driver cannot say which devices there are: {why}")))
}

#[cfg(feature = "wgpu")]
fn is_software(device: &Device) -> bool {
    *device == Device::wgpu(burn::tensor::DeviceKind::Cpu)
}

#[cfg(not(feature = "wgpu"))]
fn is_software(_device: &Device) -> bool {
    false
}

/// What the device calls itself; opens it.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn name(device: &Device) -> String {
    match guarded(|| device.identity()) {
        Ok(Some(identity)) => identity.name,
        Ok(None) => "flex".into(),
        Err(_) => "a device that cannot be opened".into(),
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn name(_device: &Device) -> String {
    "flex".into()
}

/// All Vulkan devices, for tests, which pass over what the machine lacks unless `GAZAL_REQUIRE` names it.
#[cfg(all(test, feature = "wgpu"))]
#[allow(clippy::unwrap_used, clippy::print_stderr)]
pub(crate) fn vulkan_devices() -> Vec<Device> {
    let count = enumerate("wgpu").unwrap().len();
    if count == 0 {
        let required = std::env::var("GAZAL_REQUIRE").is_ok_and(|names| names.split(',').any(|name| name == "vulkan"));
        assert!(!required, "GAZAL_REQUIRE names vulkan, and there is no Vulkan device");
        eprintln!("passed over: this machine has no Vulkan device");
    }
    (0..count).map(|index| open("wgpu", Some(index)).unwrap()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_agrees_with_itself() {
        let found = enumerate("cpu").unwrap();
        assert_eq!(found, [Found { name: "flex".into(), software: false }]);
        assert_eq!(probe(&open("cpu", None).unwrap()).unwrap(), 0.0);
    }

    #[test]
    fn an_unknown_class_is_answered_with_the_known_ones() {
        assert!(open("tpu", None).unwrap_err().to_string().contains("use cpu, wgpu, cuda"));
    }

    #[test]
    fn an_index_that_is_not_there_is_answered_with_the_range() {
        assert!(open("cpu", Some(3)).unwrap_err().to_string().contains("from 0 to 0"));
    }

    #[test]
    fn a_panic_of_a_driver_becomes_its_first_line() {
        assert_eq!(guarded(|| -> u8 { panic!("no driver\nand a backtrace") }), Err("no driver".to_string()));
    }

    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    #[test]
    fn vectors_on_several_devices_are_summed_on_the_first() {
        let vector = |device: &Device| Tensor::<1>::from_floats([1.0, 2.5, -3.0], device);
        for device in vulkan_devices() {
            let summed = sum(vec![vector(&cpu()), vector(&device), vector(&cpu())]).unwrap();
            assert!(is_cpu(&summed.device()));
            assert_eq!(crate::weights::to_host(summed), [3.0, 7.5, -9.0]);
        }
        assert!(sum(Vec::new()).is_none());
    }

    #[cfg(feature = "wgpu")]
    #[test]
    fn every_vulkan_device_agrees_with_the_cpu() {
        let devices = vulkan_devices();
        assert!(devices.iter().all(|device| probe(device).unwrap() < 1e-3));
        assert!(open("wgpu", Some(devices.len())).is_err());
    }
}
