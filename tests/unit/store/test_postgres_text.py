"""Values as PostgreSQL reads them, in COPY and in arrays."""

from segue.store.postgres import _array, _copied


def test_rows_of_numbers_are_copied_as_such() -> None:
    assert _copied([(1, -2), (3, 4)]) == ("1, -2\n3, 4", ",")
    assert _copied([(5,), (6,)]) == ("5\n6", "\t")


def test_text_is_escaped_as_copy_wants_it() -> None:
    rows = [("a\tb\n\r\\", None, b"\x00\xff", 7)]
    assert _copied(rows) == ("a\\tb\\n\\r\\\\\t\\N\t\\\\x00ff\t7", "\t")


def test_a_number_that_is_missing_in_a_later_row_is_null() -> None:
    assert _copied([(1, 2), (3, None)]) == ("1\t2\n3\t\\N", "\t")


def test_array_elements_are_quoted() -> None:
    assert _array(['a"b\\', "", "NULL", None]) == '{"a\\"b\\\\","","NULL",NULL}'
    assert _array([1, None, -3]) == "{1,NULL,-3}"
    assert _array([b"\x01", None]) == '{"\\\\x01",NULL}'
