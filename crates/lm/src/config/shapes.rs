//! The projections of a decoder by what its configuration says: how large a model is, before any weight of it is read.

use super::{Config, DeltaConfig, LayerType};

impl Config {
    /// Every projection of every layer with its shape `[out, in]`, by its name in a checkpoint
    /// (`model.layers.0.self_attn.q_proj`).
    pub fn projections(&self) -> Vec<(String, [usize; 2])> {
        let of_layer = |(index, kind): (usize, &LayerType)| {
            let mixer = match kind {
                LayerType::FullAttention => {
                    self.attention().map(|(name, shape)| (format!("self_attn.{name}"), shape)).to_vec()
                }
                LayerType::LinearAttention(delta) => {
                    self.delta(delta).map(|(name, shape)| (format!("linear_attn.{name}"), shape)).to_vec()
                }
            };
            let mlp = self.mlp().map(|(name, shape)| (format!("mlp.{name}"), shape));
            let named = move |(name, shape)| (format!("model.layers.{index}.{name}"), shape);
            mixer.into_iter().chain(mlp).map(named).collect::<Vec<_>>()
        };
        self.layer_types.iter().enumerate().flat_map(of_layer).collect()
    }

    /// Embeddings, and the head where it is another matrix, with their shape `[vocab, hidden]`.
    pub fn vocabulary(&self) -> Vec<(String, [usize; 2])> {
        let names = ["model.embed_tokens", "lm_head"].into_iter().take(if self.tie_word_embeddings { 1 } else { 2 });
        names.map(|name| (name.to_string(), [self.vocab_size, self.hidden_size])).collect()
    }

    fn attention(&self) -> [(&'static str, [usize; 2]); 4] {
        let (hidden, dim) = (self.hidden_size, self.head_dim);
        let (heads, kv_heads) = (self.num_attention_heads * dim, self.num_key_value_heads * dim);
        let queries = if self.attn_output_gate { 2 * heads } else { heads };
        [
            ("q_proj", [queries, hidden]),
            ("k_proj", [kv_heads, hidden]),
            ("v_proj", [kv_heads, hidden]),
            ("o_proj", [hidden, heads]),
        ]
    }

    fn delta(&self, delta: &DeltaConfig) -> [(&'static str, [usize; 2]); 5] {
        let (hidden, values) = (self.hidden_size, delta.value_heads * delta.value_dim);
        [
            ("in_proj_qkv", [delta.channels(), hidden]),
            ("in_proj_z", [values, hidden]),
            ("in_proj_b", [delta.value_heads, hidden]),
            ("in_proj_a", [delta.value_heads, hidden]),
            ("out_proj", [hidden, values]),
        ]
    }

    fn mlp(&self) -> [(&'static str, [usize; 2]); 3] {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        [("gate_proj", [inner, hidden]), ("up_proj", [inner, hidden]), ("down_proj", [hidden, inner])]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::path::Path;

    use burn::tensor::Device;

    use crate::Decoder;

    #[test]
    fn every_matrix_of_every_family_is_foreseen() {
        for name in ["llama", "qwen2", "qwen3", "qwen3-tied", "qwen3_5"] {
            let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/models")).join(name);
            let mut decoder = Decoder::load(&folder, &Device::flex()).unwrap();
            let foreseen = [decoder.config.projections(), decoder.config.vocabulary()].concat();
            let mut there = BTreeMap::new();
            decoder.visit(&mut |name, slot| {
                if let [rows, columns] = slot.shape()[..] {
                    let name = name.trim_end_matches(".weight").replace("model.language_model.", "model.");
                    there.insert(name, [rows, columns]);
                }
            });
            assert_eq!(foreseen.into_iter().collect::<BTreeMap<_, _>>(), there, "{name}");
        }
    }
}
