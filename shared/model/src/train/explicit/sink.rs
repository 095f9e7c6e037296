/// Where gradients add up: A and B of each pair of the adapter, in turn.
pub(super) struct Sink {
    values: Vec<Option<Vec<f32>>>,
}

impl Sink {
    pub(super) fn new(parameters: usize) -> Self {
        Self {
            values: vec![None; parameters],
        }
    }

    /// Lets `add` add to the gradient of a parameter with so many values.
    pub(super) fn add(&mut self, parameter: usize, length: usize, add: impl FnOnce(&mut [f32])) {
        if let Some(sum) = self.values.get_mut(parameter) {
            add(sum.get_or_insert_with(|| vec![0.0; length]));
        }
    }

    pub(super) fn into_values(self) -> Vec<Option<Vec<f32>>> {
        self.values
    }
}
