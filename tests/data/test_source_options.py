"""What the command line's flags say, ``open`` understands by the same names."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import vergence
from vergence.core import BadInput


@pytest.fixture
def papers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edges.csv").write_text("from,to\na,b\nb,c\nc,d\nd,a\n")
    (tmp_path / "nodes.csv").write_text("name,words,field\na,3,x\nb,5,y\nc,4,x\nd,9,y\n")
    (tmp_path / "people.csv").write_text("age,town,sick\n30,u,no\n41,v,yes\n52,u,no\n")
    (tmp_path / "log.csv").write_text("user,ts,amount\n1,10,3.5\n1,20,2.5\n2,10,1.0\n2,30,4.0\n")


def test_edges_features_and_labels_are_one_graph(papers):
    graph = vergence.open("edges.csv", features="nodes.csv", labels="field")
    assert graph.uri == "edges:edges.csv?features=nodes.csv&labels=field"
    assert (len(graph), graph.in_dim, graph.classes) == (4, 1, ["x", "y"])
    assert graph.labels.tolist() == [0, 1, 0, 1]
    assert vergence.open(graph.uri).labels.tolist() == [0, 1, 0, 1]


def test_columns_of_tables_and_logs_are_named(papers):
    table = vergence.open("people.csv", label="sick", numeric=["age"], categorical="town")
    assert table.uri == "table:people.csv?label=sick&categorical=town&numeric=age"
    assert table.classes == ["no", "yes"] and table.columns.numeric == ("age",)
    log = vergence.open("log.csv", id="user", time="ts", numeric="amount")
    assert log.modality == "events" and len(log) == 2
    assert vergence.open("log.csv", numeric="amount").modality == "events"  # what it looks like


def test_a_data_frame_names_its_columns_in_the_same_way():
    frame = pa.table({"age": [30, 41, 52], "town": ["u", "v", "u"], "sick": ["no", "yes", None]})
    table = vergence.open(frame, label="sick", categorical=["town"])
    assert table.labels.tolist() == [0, 1, -1] and table.classes == ["no", "yes"]
    assert table.columns.categorical == ("town",) and table.columns.numeric == ("age",)


@pytest.mark.parametrize("words", [False, True])
def test_what_has_no_labels_of_its_own_is_given_some(words):
    labels, known = (["cat", None, "ant"], [1, -1, 0]) if words else (np.array([2.0, np.nan, 1]), [2, -1, 1])
    images = np.zeros((3, 8, 8, 3), np.uint8)
    pictures = [Image.fromarray(image) for image in images]
    for data in (images, torch.from_numpy(images), pictures, TensorDataset(torch.from_numpy(images)),
                 np.arange(12.0).reshape(3, 4)):  # fmt: skip
        source = vergence.open(data, labels=labels)
        assert source.labels.tolist() == known
        assert source.classes == (["ant", "cat"] if words else None)
        assert source.subset([2]).labels.tolist() == [known[2]]


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ("people.csv", {"lable": "sick"}, "Unknown option of open 'lable'; did you mean 'label' or 'labels'"),
        ("digits", {"label": "sick"}, "--label says how data of another kind is read; digits"),
        ("people.csv", {"label": "sicc"}, "Unknown .*column of people.csv 'sicc'; did you mean 'sick'"),
        ("edges.csv", {"labels": [0, 1]}, "labels of edges.csv is a name, or several; got list"),
        (np.zeros((3, 8, 8, 3), np.uint8), {"labels": [1, 2]}, "got 2 labels for 3 images"),
        (np.zeros((3, 8, 8, 3), np.uint8), {"labels": [[1], [2], [3]]}, "whole numbers or words"),
        (np.zeros((3, 8, 8, 3), np.uint8), {"label": "x"}, "Unknown option of images in memory 'label'"),
        (np.zeros((3, 4)), {"label": "x"}, "The columns of an array have no names"),
        (np.zeros((3, 4)), {"labels": [1]}, r"labels \(n,\)"),
        (pa.table({"a": [1, 2]}), {"labels": [1, 2]}, "labels of a data frame are a column"),
        (pa.table({"a": [1, 2]}), {"label": "b"}, "Unknown column of .*'b'"),
    ],
)
def test_an_option_that_does_not_fit_is_one_line(papers, data, options, said):
    with pytest.raises(BadInput, match=said) as error:
        vergence.open(data, **options)
    assert "\n" not in str(error.value)


def test_a_source_is_read_already(papers):
    with pytest.raises(BadInput, match="people.csv is open already; say label where it is opened"):
        vergence.open(vergence.open("people.csv"), label="sick")
