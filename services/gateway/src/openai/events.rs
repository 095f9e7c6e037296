/// Bytes of a `text/event-stream`, cut anywhere, as the data of whole events. Names, ids and comments are left out:
/// OpenAI's stream has none that matter.
#[derive(Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    data: Vec<String>,
}

impl Lines {
    /// Adds bytes; returns the data of the events that they finish.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.buffer.extend_from_slice(bytes);
        let mut finished = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_end_matches(['\n', '\r']), &mut finished);
        }
        finished
    }

    fn line(&mut self, line: &str, finished: &mut Vec<String>) {
        if line.is_empty() {
            if !self.data.is_empty() {
                finished.push(std::mem::take(&mut self.data).join("\n"));
            }
        } else if let Some(data) = line.strip_prefix("data:") {
            self.data
                .push(data.strip_prefix(' ').unwrap_or(data).to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let stream =
            ": hi\r\n\r\ndata: {\"a\":\r\ndata: \"年\"}\n\nevent: x\ndata:[DONE]\n\n".as_bytes();
        for size in 1..stream.len() {
            let mut lines = Lines::default();
            let events: Vec<String> = stream
                .chunks(size)
                .flat_map(|part| lines.push(part))
                .collect();
            assert_eq!(
                events,
                ["{\"a\":\n\"年\"}", "[DONE]"],
                "in pieces of {size}"
            );
        }
    }
}
