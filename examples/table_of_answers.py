"""The same questions to many documents: a table with one line a document, as CSV.

python examples/table_of_answers.py questions.txt answers.csv contract.pdf report.pdf ...
"""

import csv
import sys
from pathlib import Path

from asl_llamacpp import Llama

questions_file, table, *files = sys.argv[1:]
questions = [line for line in Path(questions_file).read_text(encoding="utf-8").splitlines() if line.strip()]
llm = Llama(n_ctx=8192, verbose=False)
with open(table, "w", newline="", encoding="utf-8") as out:
    writer = csv.writer(out)
    writer.writerow(["document", *questions])
    for file in files:
        document = llm.read(file)  # all its questions start from one state
        row = [document.name]
        for question in questions:
            answer = document.ask(question)
            place = f" [{answer.evidence[0].where}]" if answer.evidence else ""
            row.append(f"{answer}{place}")
        writer.writerow(row)
        out.flush()
        document.close()
        print(f"{file}: {len(questions)} answers")
