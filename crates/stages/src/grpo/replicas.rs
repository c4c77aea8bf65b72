//! A model on all devices of a stage, which share what is computed of it.

use burn::tensor::Device;
use gazal_lm::{Decoder, Trainable};
use gazal_train::{Followers, Gradients};

pub struct Replicas {
    pub decoder: Decoder,
    /// What of it trains, or of the policy that it is the reference of.
    pub trainable: Trainable,
    followers: Followers,
}

impl Replicas {
    /// The model, and a copy on each of these devices.
    pub fn new(decoder: Decoder, trainable: Trainable, devices: &[Device]) -> Replicas {
        let followers = Followers::new(&decoder, devices);
        Replicas { decoder, trainable, followers }
    }

    pub fn devices(&self) -> usize {
        self.followers.devices()
    }

    /// What `of` makes of the model, and of each copy.
    pub fn map(&self, of: impl Fn(&Decoder) -> Decoder) -> Replicas {
        Replicas { decoder: of(&self.decoder), trainable: self.trainable, followers: self.followers.map(&of) }
    }

    /// To be called after a change of what trains.
    pub fn changed(&mut self) {
        self.followers.follow(&self.decoder, self.trainable);
    }

    /// See [`Followers::each`].
    pub fn each<T: Sync, R: Send>(&self, parts: &[T], work: impl Fn(&Decoder, &T) -> R + Sync + Send) -> Vec<R> {
        self.followers.each(&self.decoder, parts, work)
    }

    /// See [`Followers::gradients`].
    pub fn gradients<T: Sync, R: Send>(
        &self,
        parts: &[T],
        work: impl Fn(&Decoder, &T) -> (R, Gradients) + Sync + Send,
    ) -> (Vec<R>, Gradients) {
        self.followers.gradients(&self.decoder, parts, work)
    }
}
