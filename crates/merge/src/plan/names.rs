//! What a tensor's name tells: its layer, and whether its rows are tokens.

/// The components that are followed by a layer's number.
const LAYERS: [&str; 3] = ["layers", "h", "blocks"];

/// A name around its layer's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LayerName<'a> {
    /// `model.layers.`
    pub before: &'a str,
    /// `.mlp.up_proj.weight`
    pub after: &'a str,
}

impl LayerName<'_> {
    pub fn of_layer(&self, layer: usize) -> String {
        format!("{}{layer}{}", self.before, self.after)
    }
}

/// The layer of a name with one, and the name around it.
pub(super) fn layer(name: &str) -> Option<(usize, LayerName<'_>)> {
    let mut start = 0;
    let mut previous = "";
    for component in name.split('.') {
        let end = start + component.len();
        if let Some(number) = component.parse().ok().filter(|_| LAYERS.contains(&previous)) {
            return Some((number, LayerName { before: &name[..start], after: &name[end..] }));
        }
        (start, previous) = (end + 1, component);
    }
    None
}

/// Whether a tensor outside the layers comes before them: embeddings, of tokens and positions.
pub(super) fn is_before_layers(name: &str) -> bool {
    name.contains("embed") || name.contains("wte.") || name.contains("wpe.")
}

pub(super) fn is_embedding(name: &str) -> bool {
    name == "embed_tokens.weight" || name.ends_with(".embed_tokens.weight")
}

pub(super) fn is_head(name: &str) -> bool {
    name == "lm_head.weight" || name.ends_with(".lm_head.weight")
}

/// Whether a tensor's rows are tokens.
pub(super) fn is_of_vocabulary(name: &str) -> bool {
    is_embedding(name) || is_head(name)
}

/// What old checkpoints hold and every program computes itself; mergekit leaves it out too.
pub(super) fn is_computed(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_the_number_after_layers() {
        let (number, around) = layer("model.layers.12.mlp.experts.3.up_proj.weight").unzip();
        assert_eq!(number, Some(12));
        let name = LayerName { before: "model.layers.", after: ".mlp.experts.3.up_proj.weight" };
        assert_eq!(around, Some(name));
        assert_eq!(name.of_layer(7), "model.layers.7.mlp.experts.3.up_proj.weight");
        assert_eq!(layer("transformer.h.0.attn.weight").map(|(number, _)| number), Some(0));
        for name in ["model.norm.weight", "model.layers.weight", "experts.3.weight", "lm_head.weight", ""] {
            assert_eq!(layer(name), None, "{name}");
        }
    }

    #[test]
    fn embeddings_come_before_the_layers() {
        assert!(is_before_layers("model.embed_tokens.weight") && is_before_layers("transformer.wte.weight"));
        assert!(!is_before_layers("model.norm.weight") && !is_before_layers("lm_head.weight"));
        assert!(is_of_vocabulary("model.language_model.embed_tokens.weight") && is_of_vocabulary("lm_head.weight"));
        assert!(!is_of_vocabulary("model.norm.weight"));
    }
}
