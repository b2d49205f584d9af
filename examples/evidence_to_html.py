"""Write a document as a heat map for each question: what went deeper, and where the attention lay.

python examples/evidence_to_html.py contract.pdf maps "Who may end the contract?" "What does it cost?"
"""

import sys
from pathlib import Path

from asl_llamacpp import Llama

file, folder, *questions = sys.argv[1:]
Path(folder).mkdir(exist_ok=True)
document = Llama(n_ctx=8192, verbose=False).read(file)
for number, question in enumerate(questions, start=1):
    answer = document.ask(question)
    page = Path(folder) / f"{number}.html"
    answer.save_heat_map(page)  # one file, without scripts: it can be mailed
    print(f"{question} {answer}\n{page}: {len(answer.evidence)} passages")
