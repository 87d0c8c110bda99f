"""Colours, and that what is written on them can be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.colour import READABLE, as_hex, contrast, ink_on

COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(COLOURS)
def test_what_is_written_on_any_colour_can_be_read(ground: str) -> None:
    """Level AA of WCAG; black or white always reaches it, so no colour need be refused."""
    assert contrast(ink_on(ground), ground) >= READABLE


@given(COLOURS, st.sampled_from(["#ffffff", "#14181e"]))
def test_a_button_stands_out_from_the_page_by_its_ground_or_by_its_edge(ground: str, paper: str) -> None:
    """The edge has the ink's colour; 3 is what WCAG 1.4.11 asks of a control."""
    assert max(contrast(ground, paper), contrast(ink_on(ground), paper)) >= 3


def test_contrast_is_what_others_measure() -> None:
    """The greys between which 4.5 on white lies, and a pure colour, as every checker has them."""
    measured = [round(contrast("#ffffff", ground), 2) for ground in ("#000000", "#767676", "#777777", "#0000ff")]
    assert measured == [21.0, 4.54, 4.48, 8.59]


@pytest.mark.parametrize(("text", "means"), [("#0B5CAD", "#0b5cad"), (" 0b5cad ", "#0b5cad"), ("#fa0", "#ffaa00")])
def test_a_colour_is_taken_as_people_write_it(text: str, means: str) -> None:
    assert as_hex(text) == means


@pytest.mark.parametrize("text", ["", "blue", "#12345", "#12345678", "rgb(1,2,3)", "#0b5cad}body{display:none", "#١٢٣"])
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as #0b5cad"):
        as_hex(text)
