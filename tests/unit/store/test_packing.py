"""Short forms of what is stored."""

import hashlib
from importlib import resources
from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

from segue.store.packing import DICTIONARY, pack, unpack, unpack_text


@given(st.binary(max_size=3000))
def test_what_is_packed_comes_back(data: bytes) -> None:
    assert unpack(pack(data)) == data


def test_a_deletion_has_no_text() -> None:
    assert unpack_text(None) is None
    assert unpack_text(pack("Núñez".encode())) == "Núñez"


def test_the_dictionary_that_stored_values_depend_on_is_the_first_one() -> None:
    data = resources.files("segue.store").joinpath(DICTIONARY).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert digest == "2ac32e32f04521766a2883aee08247599154e4edfef88bb20af6ad02239e20dd"


def test_threads_do_not_share_what_they_pack_with() -> None:
    texts = [(f'{{"resourceType":"Basic","id":"{n}"}}' * 50).encode() for n in range(8)]
    wrong: list[bytes] = []

    def work(text: bytes) -> None:
        wrong.extend(text for _ in range(300) if unpack(pack(text)) != text)

    threads = [Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
