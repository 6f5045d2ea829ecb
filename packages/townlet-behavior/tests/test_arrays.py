import numpy as np
from strategies import ints

from townlet_behavior.arrays import gather


def test_gather_takes_one_column_of_each_row() -> None:
    table = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert gather(table, ints(2, 0)).tolist() == [3.0, 4.0]


def test_gather_of_a_table_that_is_not_contiguous() -> None:
    table = np.arange(12).reshape(3, 4).T
    assert gather(table, ints(0, 1, 2, 0)).tolist() == [0, 5, 10, 3]


def test_gather_of_no_rows() -> None:
    assert gather(np.zeros((0, 3)), ints()).tolist() == []
