"""Many questions about the same documents, each with what was said before.

python examples/chat.py contract.pdf notes.md
"""

import sys

from asl_llamacpp import Llama, Turn

llm = Llama(n_ctx=8192, verbose=False)
document = llm.read(*sys.argv[1:])
document.prefill()  # read ahead, so that the first question need not wait
history = []
print(f"{document.name}: {document.n_tokens} tokens. Ask; an empty line ends.")
while question := sys.stdin.readline().strip():
    answer = document.ask(question, history=history)
    known = answer.report.reused / answer.report.n_prompt
    print(f"{answer}\n({answer.report.seconds['total']:.1f} s, {known:.0%} of the prompt was known)")
    history.append(Turn(question, answer.text))
