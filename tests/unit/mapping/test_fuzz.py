"""A short run of `make fuzz`: mutations of our own messages, and values in all fields."""

from random import Random

from tests.support.fuzz import check, check_value, mutations, own_corpus


def test_no_mutation_of_a_message_raises_or_is_misread_in_silence():
    became = {check(raw) for raw in mutations(own_corpus(), 700, seed=20260705)}
    assert became == {"mapped", "kept", "unreadable"}


def test_a_value_that_is_put_into_any_field_is_read_from_it():
    random = Random(20260705)
    corpus = own_corpus()
    for _ in range(150):
        check_value(random, random.choice(corpus))
