//! Files that are right, against the `safetensors` crate; files that are not, against what is said of them.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::shards::split;
use super::{FileWriter, ModelWriter, Precision, Weights, largest_difference, parse_size, save, to_host};

/// A file as the `safetensors` crate writes it.
fn file(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, Some(HashMap::from([("format".into(), "pt".into())]))).unwrap()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A file with this header and as many bytes of data.
fn raw(header: &Value, data: usize) -> Vec<u8> {
    let header = header.to_string();
    [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &vec![7; data]].concat()
}

fn open(bytes: &[u8]) -> Result<Weights, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    fs::write(&path, bytes).unwrap();
    Weights::load(&path).map_err(|error| error.to_string())
}

fn plan(tensors: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
    tensors.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect()
}

#[test]
fn a_written_file_is_the_one_that_the_safetensors_crate_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (b, a) = (vec![1.0, -2.5, 3.0, 4.0, 5.0, 6.0], vec![0.1, f32::MIN_POSITIVE]);
    save(
        &path,
        &[("b".into(), vec![3, 2], b.clone()), ("a".into(), vec![2], a.clone()), ("c".into(), vec![0], vec![])],
    )
    .unwrap();
    let expected = file(&[
        ("a", Dtype::F32, vec![2], bytes(&a)),
        ("b", Dtype::F32, vec![3, 2], bytes(&b)),
        ("c", Dtype::F32, vec![0], vec![]),
    ]);
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn all_types_are_read_across_chunks_and_in_each_precision() {
    let values: Vec<f32> = (0..200_000).map(|n| (n % 251) as f32 - 125.0).collect();
    let half: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    let brain: Vec<u8> = values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
    let double: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
    let int: Vec<u8> = values.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect();
    let long: Vec<u8> = values.iter().flat_map(|&v| (v as i64).to_le_bytes()).collect();
    let shape = vec![400, 500];
    let all = [
        ("f16", Dtype::F16, shape.clone(), half),
        ("bf16", Dtype::BF16, shape.clone(), brain),
        ("f64", Dtype::F64, shape.clone(), double),
        ("i32", Dtype::I32, shape.clone(), int),
        ("i64", Dtype::I64, shape.clone(), long),
        ("f32", Dtype::F32, shape, bytes(&values)),
    ];
    let weights = open(&file(&all)).unwrap();
    for (name, ..) in &all {
        assert_eq!(weights.read(name).unwrap(), values, "{name}");
        assert_eq!(weights.get(name).unwrap(), ([400, 500].as_slice(), values.as_slice()), "{name}");
    }
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let mut weights = open(&file(&all)).unwrap();
        for (name, ..) in &all {
            let tensor = weights.take_in(precision, name, [400, 500], &Device::flex()).unwrap();
            assert_eq!(tensor.dtype(), precision.dtype());
            assert_eq!(to_host(tensor), values, "{name}");
        }
        weights.finish().unwrap();
    }
}

#[test]
fn numbers_are_rounded_once_to_the_nearest() {
    let values = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 1e-40, f32::MAX, f32::NAN];
    let folder = tempfile::tempdir().unwrap();
    for (precision, dtype) in [(Precision::Bf16, Dtype::BF16), (Precision::F16, Dtype::F16)] {
        let path = folder.path().join("x.safetensors");
        let mut writer = FileWriter::create(&path, &plan(&[("x", &[5])]), precision).unwrap();
        writer.write("x", &values).unwrap();
        writer.finish().unwrap();
        let rounded = values.iter().flat_map(|&value| match precision {
            Precision::Bf16 => bf16::from_f32(value).to_le_bytes(),
            _ => f16::from_f32(value).to_le_bytes(),
        });
        assert_eq!(fs::read(&path).unwrap(), file(&[("x", dtype, vec![5], rounded.collect())]));
    }
    assert_eq!(bf16::from_f32(values[0]).to_f32(), 1.0);
    assert_eq!(bf16::from_f32(values[1]).to_f32(), 1.0 + 4.0 / 256.0);
}

#[test]
fn a_model_is_cut_into_shards_with_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = plan(&[("b", &[6]), ("d", &[3, 2]), ("a", &[2]), ("c", &[30])]);
    let mut writer = ModelWriter::create(folder.path(), &tensors, Precision::F32, 40).unwrap();
    for (place, (name, shape)) in tensors.iter().enumerate().rev() {
        writer.write(name, &vec![place as f32; shape.iter().product()]).unwrap();
    }
    writer.finish().unwrap();
    let index = fs::read_to_string(folder.path().join("model.safetensors.index.json")).unwrap();
    assert_eq!(
        index,
        r#"{
  "metadata": {
    "total_parameters": 44,
    "total_size": 176
  },
  "weight_map": {
    "a": "model-00003-of-00003.safetensors",
    "b": "model-00001-of-00003.safetensors",
    "c": "model-00002-of-00003.safetensors",
    "d": "model-00003-of-00003.safetensors"
  }
}
"#
    );
    let weights = Weights::load_model(folder.path()).unwrap();
    for (place, (name, shape)) in tensors.iter().enumerate() {
        assert_eq!(
            weights.get(name).unwrap(),
            (shape.as_slice(), vec![place as f32; shape.iter().product()].as_slice())
        );
    }
    let mut writer = ModelWriter::create(folder.path(), &plan(&[("a", &[1])]), Precision::Bf16, 40).unwrap();
    writer.write("a", &[5.0]).unwrap();
    writer.finish().unwrap();
    assert_eq!(Weights::load_model(folder.path()).unwrap().names().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn shards_are_cut_where_huggingface_hub_cuts_them() {
    // The first is the example of huggingface_hub's documentation; the second has tensors above the limit.
    assert_eq!(split(&[6, 6, 2, 6, 2, 2], 10), [vec![0], vec![1, 2], vec![3, 4, 5]]);
    assert_eq!(split(&[5, 20, 5, 1], 10), [vec![1], vec![0, 2], vec![3]]);
    assert_eq!(split(&[], 10), [Vec::<usize>::new()]);
}

#[test]
fn sizes_are_spelled_as_in_transformers() {
    let size = |text: &str| parse_size(text).ok();
    assert_eq!(
        ["5GB", "500mb", "1 KB", "7", "2TB"].map(size),
        [5_000_000_000, 500_000_000, 1000, 7, 2_000_000_000_000].map(Some)
    );
    assert_eq!(["", "GB", "5XB", "-1GB", "1.5GB", "0", "99999999999TB"].map(size), [None; 7]);
}

#[test]
fn a_file_that_was_begun_and_not_finished_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let begin = || FileWriter::create(&path, &plan(&[("a", &[2]), ("b", &[1])]), Precision::F32).unwrap();
    let mut writer = begin();
    writer.write("a", &[1.0, 2.0]).unwrap();
    let said = |result: Result<(), crate::LmError>| result.unwrap_err().to_string();
    assert!(said(writer.write("a", &[1.0, 2.0])).ends_with("tensor `a` is not to be written"));
    assert!(said(begin().write("b", &[1.0, 2.0])).ends_with("tensor `b` has 2 numbers, expected 1"));
    assert!(said(writer.finish()).ends_with("tensor `b` was not written"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let twice = FileWriter::create(&path, &plan(&[("a", &[2]), ("a", &[1])]), Precision::F32);
    assert!(twice.unwrap_err().to_string().ends_with("tensor `a` is there twice"));
}

#[test]
fn a_wrong_header_is_refused_with_file_and_tensor() {
    let tensor =
        |dtype: &str, shape: Value, offsets: [u64; 2]| json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
    let of = |value: Value| json!({"a": tensor("F32", json!([2]), [0, 8]), "b": value});
    let cases = [
        (
            of(tensor("F32", json!([2]), [8, 17])),
            17,
            "tensor `b` has shape [2] and type F32, which are not the 9 bytes",
        ),
        (of(tensor("F32", json!([2]), [8, 24])), 16, "tensor `b` lies at bytes 8 to 24 of 16: the file is cut short"),
        (of(tensor("F32", json!([2]), [4, 12])), 16, "tensor `b` begins at byte 4, within tensor `a`"),
        (of(tensor("F32", json!([2]), [12, 20])), 20, "tensor `b` begins at byte 12, and `a` before it ends at 8"),
        (of(tensor("F32", json!([2]), [8, 16])), 20, "has 20 bytes of tensors, of which 16 belong to one"),
        (of(tensor("F32", json!([2]), [16, 8])), 16, "tensor `b` lies at bytes 16 to 8"),
        (of(tensor("F32", json!([1_u64 << 62, 4]), [8, 16])), 16, "tensor `b` has shape"),
        (of(tensor("F32", json!([2]), [8, u64::MAX])), 16, "tensor `b` lies at bytes"),
        (of(tensor("F99", json!([2]), [8, 16])), 16, "tensor `b` has a header that is wrong: unknown variant `F99`"),
        (of(tensor("F32", json!([-1]), [8, 16])), 16, "tensor `b` has a header that is wrong"),
        (of(json!({"dtype": "F32", "shape": [2]})), 16, "tensor `b` has a header that is wrong: missing field"),
        (json!(["a"]), 0, "its header is no JSON object"),
    ];
    for (header, data, wanted) in cases {
        let error = open(&raw(&header, data)).unwrap_err();
        assert!(error.contains("x.safetensors: ") && error.contains(wanted), "{error}");
    }
}

#[test]
fn a_wrong_length_is_refused() {
    let whole = file(&[("a", Dtype::F32, vec![2], bytes(&[1.0, 2.0]))]);
    for cut in 0..whole.len() {
        assert!(open(&whole[..cut]).unwrap_err().contains("x.safetensors: "), "cut to {cut}");
    }
    for length in [u64::MAX, 1 << 40, 100_000_001, whole.len() as u64 - 7] {
        let mut other = whole.clone();
        other[..8].copy_from_slice(&length.to_le_bytes());
        assert!(open(&other).unwrap_err().contains(&format!("its header has {length} bytes")));
    }
    assert!(Weights::load(Path::new("/")).unwrap_err().to_string().contains("is no file"));
}

#[test]
fn tensors_that_are_missing_too_many_or_of_another_shape_are_named() {
    let whole = file(&[("a", Dtype::F32, vec![2], bytes(&[1.0, 2.0])), ("b", Dtype::U8, vec![2], vec![1, 2])]);
    let said = |error: crate::LmError| error.to_string();
    let device = Device::flex();
    let mut weights = open(&whole).unwrap();
    assert!(said(weights.take("c", [1], &device).unwrap_err()).ends_with("x.safetensors: tensor `c` is missing"));
    assert!(
        said(weights.take("b", [2], &device).unwrap_err()).ends_with("tensor `b` has type U8, which is not supported")
    );
    let wanted = "tensor `a` has shape [2], expected [1, 2]";
    assert!(said(weights.take("a", [1, 2], &device).unwrap_err()).ends_with(wanted));
    let mut weights = open(&whole).unwrap();
    assert_eq!(to_host(weights.take_flat("a", 2, &device).unwrap()), [1.0, 2.0]);
    let wanted = "x.safetensors: tensor `b` is not part of this architecture";
    assert!(said(weights.finish().unwrap_err()).ends_with(wanted));
    weights.ignore(|name| name == "b");
    weights.finish().unwrap();
}

#[test]
fn a_file_that_is_cut_while_it_is_open_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    fs::write(&path, file(&[("a", Dtype::F32, vec![2], bytes(&[1.0, 2.0]))])).unwrap();
    let weights = Weights::load(&path).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(70).unwrap();
    assert!(weights.read("a").unwrap_err().to_string().contains("tensor `a` cannot be read"));
}

/// A folder with two shards, `a` in the first and `b` in the second, and this index.
fn sharded(map: &Value) -> Result<Weights, String> {
    let folder = tempfile::tempdir().unwrap();
    let one = |name| file(&[(name, Dtype::F32, vec![1], bytes(&[1.0]))]);
    fs::create_dir(folder.path().join("model")).unwrap();
    for (name, bytes) in [("model/1", one("a")), ("model/2", one("b")), ("model/3", one("a")), ("outside", one("b"))] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let folder = folder.path().join("model");
    fs::write(folder.join("model.safetensors.index.json"), json!({"weight_map": map}).to_string()).unwrap();
    Weights::load_model(&folder).map_err(|error| error.to_string())
}

#[test]
fn an_index_names_files_of_its_folder_only() {
    assert_eq!(sharded(&json!({"a": "1", "b": "2"})).unwrap().names().collect::<Vec<_>>(), ["a", "b"]);
    for name in ["../outside", "/etc/passwd", "x/1", "./2", "2/", ".", "..", ""] {
        let error = sharded(&json!({"a": "1", "b": name})).unwrap_err();
        let wanted = format!("index.json: tensor `b` is said to be in {:?}, which is no file of this folder", name);
        assert!(error.contains(&wanted), "{error}");
    }
    let cases = [
        (json!({"a": "1", "b": "4"}), "model/4: No such file"),
        (json!({"a": "2", "b": "2"}), "index.json: tensor `a` is not in `2`"),
        (json!({"a": "1", "b": "2", "c": "2"}), "index.json: tensor `c` is not in `2`"),
        (json!({"a": "1", "b": "3"}), "model/3: tensor `a` is in"),
        (json!({"a": 1}), "tensor `a` is said to be in 1,"),
        (json!(5), "`weight_map` is missing"),
    ];
    for (map, wanted) in cases {
        let error = sharded(&map).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}

/// A file of three tensors with some of its bytes, or of its header's characters, replaced.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let whole = file(&[
        ("model.a", Dtype::F32, vec![3, 2], bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("model.b", Dtype::BF16, vec![4], vec![1, 63, 2, 63, 3, 63, 4, 63]),
        ("n", Dtype::I64, vec![1], vec![1, 0, 0, 0, 0, 0, 0, 0]),
    ]);
    let (length, header) = (whole.len(), 8..whole.len() - 40);
    const TEXTS: [&str; 14] =
        ["9", "0", "-", "\"", "[", "]", "{", "}", ",", "18446744073709551615", "4294967296", "F32", "I64", "1"];
    let byte = (0..length, any::<u8>()).prop_map(|(at, byte)| (at, 1, vec![byte]));
    let text = (header, 0..4_usize, proptest::sample::select(&TEXTS[..]))
        .prop_map(|(at, gone, text)| (at, gone, text.as_bytes().to_vec()));
    let cut = (0..length).prop_map(move |at| (at, length - at, vec![]));
    let change = prop_oneof![2 => byte, 6 => text, 1 => cut];
    (proptest::collection::vec(change, 0..4), any::<bool>()).prop_map(move |(changes, mend)| {
        let mut bytes = whole.clone();
        for (at, gone, new) in changes {
            let at = at.min(bytes.len());
            let end = (at + gone).min(bytes.len());
            bytes.splice(at..end, new);
        }
        // A header that fits its length again is looked at more closely.
        if let (true, Some(end)) = (mend, bytes.windows(2).rposition(|pair| pair == b"}}")) {
            let header = (end + 2 - 8) as u64;
            bytes[..8].copy_from_slice(&header.to_le_bytes());
        }
        bytes
    })
}

/// The values of a tensor as the `safetensors` crate gives them; `None` for types that are not read.
fn values(view: &TensorView) -> Option<Vec<f32>> {
    let bytes = view.data();
    Some(match view.dtype() {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::I32 => bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b) as f32).collect(),
        Dtype::I64 => bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f32).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is read of a damaged file is what the `safetensors` crate reads of it, or an error.
    #[test]
    fn a_damaged_file_is_an_error_or_what_the_safetensors_crate_reads(bytes in damaged()) {
        let (ours, theirs) = (open(&bytes), SafeTensors::deserialize(&bytes));
        let (Ok(ours), Ok(theirs)) = (&ours, &theirs) else {
            prop_assert_eq!(ours.is_err(), theirs.is_err(), "{:?} and {:?}", ours, theirs);
            return Ok(());
        };
        prop_assert_eq!(ours.names().count(), theirs.len());
        for (name, view) in theirs.iter() {
            match (ours.get(name), values(&view)) {
                (Ok((shape, found)), Some(wanted)) => {
                    prop_assert_eq!(shape, view.shape());
                    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                    prop_assert_eq!(bits(found), bits(&wanted));
                }
                (found, wanted) => prop_assert_eq!(found.is_err(), wanted.is_none()),
            }
        }
    }
}

#[test]
fn a_difference_that_is_no_number_is_not_passed_over() {
    assert_eq!(largest_difference(&[1.0, -2.0], &[1.5, 1.0]), 3.0);
    assert_eq!(largest_difference(&[], &[]), 0.0);
    for (a, b) in
        [([f32::NAN, 1.0], [0.0, 9.0]), ([1.0, 2.0], [f32::NAN, 2.0]), ([f32::INFINITY; 2], [f32::INFINITY; 2])]
    {
        assert!(largest_difference(&a, &b).is_nan());
    }
    assert!(largest_difference(&[1.0], &[1.0, 2.0]).is_nan(), "a value is missing");
}
