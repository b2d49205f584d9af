"""Hold the KV cache within a number of bytes, by the policy that keeps most.

python examples/within_a_budget.py contract.pdf "Who may end the contract?" 64MiB
"""

import sys

from asl_llamacpp import BudgetError, Llama

file, question, budget = sys.argv[1:]
for policy in ("full", "asl", "asl-2pass", "snapkv"):
    try:
        llm = Llama(n_ctx=8192, kv_policy=policy, kv_budget=budget, verbose=False)
        answer = llm.read(file).ask(question)
    except BudgetError as error:
        print(f"{policy}: {error}")
        continue
    report = answer.report
    print(f"{policy}: {report.kv_bytes / 2**20:.1f} MiB, {report.peak_kv_bytes / 2**20:.1f} at most. {report.reason}")
    print(answer)
    break
