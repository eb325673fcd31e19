//! The fields of a protobuf message, as far as a message of another host is read here.

/// What a field holds.
#[derive(Debug, PartialEq)]
pub enum Field<'a> {
    Bytes(&'a [u8]),
    Number(u64),
}

/// Each field and its number; `None`, and nothing after it, where the bytes are no message.
pub fn fields(bytes: &[u8]) -> impl Iterator<Item = Option<(u32, Field<'_>)>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let mut left = rest.filter(|left| !left.is_empty())?;
        let field = field(&mut left);
        rest = field.is_some().then_some(left);
        Some(field)
    })
}

fn field<'a>(from: &mut &'a [u8]) -> Option<(u32, Field<'a>)> {
    let key = number(from)?;
    let field = match key & 7 {
        0 => Field::Number(number(from)?),
        1 => Field::Number(u64::from_le_bytes(take(from, 8)?.try_into().ok()?)),
        2 => {
            let len = number(from)?;
            Field::Bytes(take(from, usize::try_from(len).ok()?)?)
        }
        5 => Field::Number(u32::from_le_bytes(take(from, 4)?.try_into().ok()?).into()),
        // Groups, which nobody writes any more.
        _ => return None,
    };
    u32::try_from(key >> 3).ok().filter(|number| *number > 0).map(|number| (number, field))
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(taken)
}

fn number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(from, 1)? else { return None };
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_field_is_read_and_a_lie_ends_it() {
        let read = |bytes: &'static [u8]| fields(bytes).collect::<Vec<_>>();
        let all = b"\x08\xac\x02\x12\x02hi\x1d\x01\0\0\0\x21\x02\0\0\0\0\0\0\0";
        let wanted = [(1, Field::Number(300)), (2, Field::Bytes(b"hi")), (3, Field::Number(1)), (4, Field::Number(2))];
        assert_eq!(read(all), wanted.map(Some));
        for lie in [b"\x12\x03hi".as_slice(), b"\x0b", b"\x00\x01", b"\x80", b"\x1d\x01", b"\x08"] {
            assert_eq!(read(lie), [None], "{lie:x?}");
        }
    }
}
