"""Ask a document one question, and show where the answer may come from.

python examples/ask_a_pdf.py contract.pdf "Who may end the contract, and when?" [model.gguf]
"""

import sys

from asl_llamacpp import Llama

file, question, *model = sys.argv[1:]
llm = Llama(*model, n_ctx=8192, verbose=False)
stream = llm.read(file).ask(question, stream=True)
for piece in stream:
    print(piece, end="", flush=True)
print("\n\nWhat the model was allowed to see deep down, best first:")
for span in stream.answer.evidence[:3]:
    print(f"- {span.where}: {' '.join(span.text.split())}")
print(f"\n{stream.answer.report}")
