use super::PairJudgment;

/// A sparse matrix by rows.
#[derive(Debug)]
pub(super) struct Rows {
    starts: Vec<usize>,
    entries: Vec<Entry>,
}

/// What was said in one cell: twelve bytes, so that a sweep reads as little as may be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) column: u32,
    /// a
    pub(super) preference: f32,
    /// w
    pub(super) weight: f32,
}

impl Rows {
    /// Judgments put in the order of their rows, and within a row in their own, in two passes; `place` gives the row and
    /// column of each, all rows below `rows`.
    pub(super) fn new(
        rows: usize,
        judgments: &[PairJudgment],
        place: impl Fn(&PairJudgment) -> (u32, u32),
    ) -> Self {
        let mut starts = vec![0; rows + 1];
        judgments.iter().for_each(|j| starts[place(j).0 as usize + 1] += 1);
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        let mut entries = vec![Entry::default(); judgments.len()];
        for j in judgments {
            let (row, column) = place(j);
            let at = &mut next[row as usize];
            entries[*at] = Entry { column, preference: j.preference, weight: j.weight };
            *at += 1;
        }
        Self { starts, entries }
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn row(&self, row: usize) -> &[Entry] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }

    pub(super) fn total_weight(&self) -> f64 {
        self.entries.iter().map(|e| f64::from(e.weight)).sum()
    }
}
