import numpy as np

from napari_semiseg.imaging.outlines import outlines


def test_lines_lie_halfway_around_what_is_inside_also_at_the_edge() -> None:
    inside = np.zeros((6, 9), bool)
    inside[0:3, 4:9] = True
    (line,) = outlines(inside)
    assert np.array_equal(line[0], line[-1])
    assert line.min(axis=0).tolist() == [-0.5, 3.5]
    assert line.max(axis=0).tolist() == [2.5, 8.5]


def test_holes_and_pieces_have_lines_of_their_own_and_nothing_has_none() -> None:
    inside = np.zeros((9, 9), bool)
    assert outlines(inside) == []
    inside[1:6, 1:6] = True
    inside[3, 3] = False
    inside[8, 8] = True
    assert len(outlines(inside)) == 3
