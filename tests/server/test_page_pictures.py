"""Pages of PDF documents: their pictures, the words on them, and where evidence stands."""

from __future__ import annotations

from pathlib import Path

from llama_fixtures import PRUNE
from pdf_files import pdf_bytes
from served import served

LINE = "The pass key of the vault is 48213 and the miller of house {} sleeps until noon in June"


def test_pictures_and_words_and_the_place_of_evidence(tmp_path: Path) -> None:
    pages = [LINE.format(i) for i in range(8)]
    with served(tmp_path, policy=PRUNE) as server:
        found = server.upload(pdf_bytes(pages), "mill.pdf")
        path = f"/v1/documents/{found['id']}"
        assert found["has_pictures"] and found["page_sizes"] == [[612, 792]] * 8 and found["n_pages"] == 8
        picture = server.http.get(f"{path}/pages/2.png", params={"width": 306})
        assert picture.content.startswith(b"\x89PNG") and picture.content[16:24] == bytes([0, 0, 1, 50, 0, 0, 1, 140])
        text = server.http.get(f"{path}/text").json()
        assert [text["text"][page["start"] : page["end"]].strip() for page in text["pages"]] == pages
        layer = server.http.get(f"{path}/pages/3/layer").json()
        assert [word["text"] for word in layer["words"]] == pages[2].split()
        for word in layer["words"]:
            assert text["text"][word["start"] : word["end"]] == word["text"]
        first = layer["words"][0]["rect"]  # the line begins at 72 points, its base line 72 from the top
        assert abs(first[0] - 72) < 1 and 55 < first[1] < first[3] < 80
        for span in server.ask("What is the pass key?", found["id"]).json()["evidence"]:
            [rect] = span["rects"]
            assert rect["page"] == span["page"] and span["label"] == str(span["page"])
            assert rect["page"] <= span["last_page"] and span["pages"] == f"page {span['page']}"
            words = [
                word["rect"]
                for word in server.http.get(f"{path}/pages/{span['page']}/layer").json()["words"]
                if span["start"] <= word["start"] and word["end"] <= span["end"]
            ]
            assert rect["rect"] == [words[0][0], min(w[1] for w in words), words[-1][2], max(w[3] for w in words)]
        assert server.http.get(f"{path}/pages/9.png").json()["error"]["code"] == "page_not_found"
        assert server.http.get(f"{path}/pages/0/layer").status_code == 400
        plain = server.upload()["id"]
        assert server.http.get(f"/v1/documents/{plain}/pages/1.png").json()["error"]["code"] == "no_pictures"
