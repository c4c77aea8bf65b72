//! A log as TensorBoard reads it: one file of `Event`s, with a scalar for every number of every entry.
//!
//! The file is a sequence of TFRecords: the length of the content in 8 bytes, a checksum of these, the content, and its
//! checksum, all little-endian
//! (<https://github.com/tensorflow/tensorboard/blob/master/tensorboard/summary/writer/record_writer.py>). A content is
//! a protocol buffer; of `event.proto` and `summary.proto` these fields are used:
//!
//! | message | field | number | type |
//! |---|---|---|---|
//! | `Event` | `wall_time` | 1 | double |
//! | | `step` | 2 | varint |
//! | | `file_version` | 3 | text |
//! | | `summary` | 5 | `Summary` |
//! | `Summary` | `value` | 1 | `Value`, repeated |
//! | `Value` | `tag` | 1 | text |
//! | | `simple_value` | 2 | float |
//!
//! They are so few that they are written here rather than by a library. `wall_time` is 0 in all of them, which is how a
//! protocol buffer says nothing: equal trainings make equal bytes. TensorBoard's axis of relative time is empty for them,
//! that of steps is not.

use super::{Entry, step_of};

/// TensorBoard takes every file with `tfevents` in its name; what usually follows, a time and a machine, is left out.
pub const FILE: &str = "events.out.tfevents.0";

/// The version that a reader expects first.
const FILE_VERSION: &str = "brain.Event:2";

/// How the low bits of a protocol buffer's key name the form of a field.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Bytes = 2,
    Fixed32 = 5,
}

/// The file of a log.
pub fn events(log_history: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    record(&mut file, &bytes(3, FILE_VERSION.as_bytes()));
    for entry in log_history {
        record(&mut file, &event(entry));
    }
    file
}

fn event(entry: &Entry) -> Vec<u8> {
    let scalars = entry.iter().filter(|(name, _)| *name != "step");
    let scalars = scalars.filter_map(|(name, value)| Some((tag(name), value.as_f64()?)));
    let summary: Vec<u8> = scalars.flat_map(|(tag, value)| bytes(1, &scalar(&tag, value))).collect();
    let mut event = key(2, Wire::Varint);
    event.extend(varint(step_of(entry)));
    event.extend(bytes(5, &summary));
    event
}

/// What transformers calls a metric in TensorBoard.
fn tag(name: &str) -> String {
    match name.strip_prefix("eval_") {
        Some(name) => format!("eval/{name}"),
        None => format!("train/{name}"),
    }
}

fn scalar(tag: &str, value: f64) -> Vec<u8> {
    let mut scalar = bytes(1, tag.as_bytes());
    scalar.extend(key(2, Wire::Fixed32));
    scalar.extend((value as f32).to_le_bytes());
    scalar
}

/// A field of text, or of a message.
fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [key(field, Wire::Bytes), varint(content.len() as u64), content.to_vec()].concat()
}

fn key(field: u64, wire: Wire) -> Vec<u8> {
    varint(field << 3 | wire as u64)
}

/// Seven bits a byte, the lowest first; all but the last byte have their highest bit set.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn record(file: &mut Vec<u8>, content: &[u8]) {
    let length = (content.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked(&length).to_le_bytes());
    file.extend(content);
    file.extend(masked(content).to_le_bytes());
}

/// A checksum (CRC-32C) that may stand among what is summed: turned by 15 bits, and shifted.
fn masked(content: &[u8]) -> u32 {
    crc32c::crc32c(content).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    /// CRC-32C bit by bit: the reflected polynomial 0x1EDC6F41.
    fn checksum(content: &[u8]) -> u32 {
        !content.iter().fold(!0_u32, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 })
        })
    }

    fn unmasked(stored: &[u8]) -> u32 {
        let turned = u32::from_le_bytes(stored.try_into().unwrap()).wrapping_sub(0xa282_ead8);
        turned.rotate_left(15)
    }

    /// The contents of the records, their checksums looked at.
    fn records(mut file: &[u8]) -> Vec<&[u8]> {
        let mut contents = Vec::new();
        while !file.is_empty() {
            let (head, rest) = file.split_at(12);
            assert_eq!(unmasked(&head[8..]), checksum(&head[..8]));
            let length = u64::from_le_bytes(head[..8].try_into().unwrap());
            let (content, rest) = rest.split_at(usize::try_from(length).unwrap());
            assert_eq!(unmasked(&rest[..4]), checksum(content));
            contents.push(content);
            file = &rest[4..];
        }
        contents
    }

    /// A field of a protocol buffer: its number, and its bytes or its number's.
    fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn number(message: &mut &[u8]) -> u64 {
            let length = message.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let (bytes, rest) = message.split_at(length);
            *message = rest;
            bytes.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
        }
        let mut found = Vec::new();
        while !message.is_empty() {
            let key = number(&mut message);
            let length = match key & 7 {
                0 => {
                    found.push((key >> 3, number(&mut message).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                2 => usize::try_from(number(&mut message)).unwrap(),
                5 => 4,
                other => panic!("wire type {other}"),
            };
            let (bytes, rest) = message.split_at(length);
            found.push((key >> 3, bytes.to_vec()));
            message = rest;
        }
        found
    }

    /// Tag, step and value of every scalar.
    fn scalars(event: &[u8]) -> Vec<(String, u64, f32)> {
        let of = |message: &[u8], wanted: u64| -> Vec<Vec<u8>> {
            fields(message).into_iter().filter(|(field, _)| *field == wanted).map(|(_, bytes)| bytes).collect()
        };
        let step = u64::from_le_bytes(of(event, 2)[0].clone().try_into().unwrap());
        let scalar = |value: &Vec<u8>| {
            let tag = String::from_utf8(of(value, 1)[0].clone()).unwrap();
            (tag, step, f32::from_le_bytes(of(value, 2)[0].clone().try_into().unwrap()))
        };
        of(&of(event, 5)[0], 1).iter().map(scalar).collect()
    }

    fn log() -> Vec<Entry> {
        let entries = [
            json!({"step": 1, "loss": 2.5, "rewards/accuracy_reward/mean": -0.125, "num_tokens": 16_777_217}),
            json!({"step": 300, "eval_loss": 1e-3, "evaluated": 1, "name": "no number", "missing": null}),
        ];
        entries.into_iter().map(|entry| entry.as_object().unwrap().clone()).collect()
    }

    #[test]
    fn every_number_is_a_scalar_under_transformers_name() {
        let file = events(&log());
        let contents = records(&file);
        assert_eq!(fields(contents[0]), [(3, b"brain.Event:2".to_vec())]);
        let found: Vec<_> = contents[1..].iter().flat_map(|event| scalars(event)).collect();
        let wanted = [
            ("train/loss", 1, 2.5),
            ("train/rewards/accuracy_reward/mean", 1, -0.125),
            ("train/num_tokens", 1, 16_777_216.0),
            ("eval/loss", 300, 1e-3),
            ("train/evaluated", 300, 1.0),
        ];
        assert_eq!(found, wanted.map(|(tag, step, value)| (tag.to_string(), step, value)));
    }

    #[test]
    fn nothing_tells_a_time() {
        let file = events(&log());
        assert!(records(&file).iter().all(|event| fields(event).iter().all(|(field, _)| *field != 1)));
        assert_eq!(file, events(&log()));
        assert_eq!(checksum(b"123456789"), 0xe306_9283, "the checksum of the standard");
    }
}
