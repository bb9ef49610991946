/// Longest line of an event stream.
const LONGEST: usize = 1 << 20;

/// The data of server-sent events, from bytes cut anywhere. (WHATWG HTML, §9.2; an event of several data lines does not occur
/// here.)
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The line that has begun.
    line: Vec<u8>,
}

impl Events {
    /// The data that is whole with these bytes.
    ///
    /// # Errors
    /// A line without an end, or that is not UTF-8.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, &'static str> {
        let mut data = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > LONGEST {
                return Err("a line of the stream has no end");
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = std::str::from_utf8(&line).map_err(|_| "the stream is not UTF-8")?;
                data.extend(line.trim_end().strip_prefix("data:").map(|data| data.trim_start().to_owned()));
            }
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_comes_whole_however_the_bytes_are_cut() {
        let stream = "data: {\"é\"}\r\n\r\n: a comment\n\nevent: x\ndata:two\n\ndata: [DONE]\n\ndata: cut";
        for size in 1..stream.len() {
            let mut events = Events::default();
            let pieces = stream.as_bytes().chunks(size).flat_map(|piece| events.push(piece).unwrap());
            assert_eq!(pieces.collect::<Vec<_>>(), ["{\"é\"}", "two", "[DONE]"]);
        }
    }

    #[test]
    fn rubbish_is_refused() {
        assert!(Events::default().push(&vec![b'x'; LONGEST + 1]).is_err());
        assert!(Events::default().push(b"data: \xff\n").is_err());
    }
}
