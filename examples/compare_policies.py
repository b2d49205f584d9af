"""One question under several policies: seconds, memory, answer.

python examples/compare_policies.py contract.pdf "Who may end the contract?" 1024 [model.gguf]
"""

import sys

from asl_llamacpp import Llama

file, question, kept, *model = sys.argv[1:]
policies = [f"{name}:select_k={kept}" for name in ("asl", "asl-2pass", "fastkv", "gemfilter")]
print(f"{'policy':<26} {'prefill s':>9} {'layer':>5} {'tokens':>6} {'KV MiB':>6}  answer")
for policy in ("full", *policies, f"snapkv:budget={kept}"):
    llm = Llama(*model, n_ctx=8192, kv_policy=policy, flash_attn=True, verbose=False)
    answer = llm.read(file).ask(question)
    report = answer.report
    layer = "-" if report.selection_layer is None else report.selection_layer
    numbers = f"{report.seconds['total']:>9.2f} {layer:>5} {report.n_selected:>6} {report.kv_bytes / 2**20:>6.1f}"
    print(f"{policy:<26} {numbers}  {' '.join(answer.text.split())}")
    llm.close()
