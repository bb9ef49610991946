"""The plain singular value decomposition that a start can be had from: scipy's svds of the matrix of ±1, zero where unobserved.

    cargo bench --bench factorization -- head --users 10000 --pairs 5000 --judgments 1000000 --out DIR
    benches/peers/svds.py DIR/train.txt
"""
import json
import sys
import time
from pathlib import Path

from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from factorization import FACTORS, cpu_seconds, read

nodes = read(Path(sys.argv[1]))
clock, cpu = time.perf_counter(), cpu_seconds()
matrix = csr_matrix((nodes["sign"].astype(float), (nodes["user"], nodes["pair"])))
prepared = time.perf_counter() - clock
values = svds(matrix, k=FACTORS, random_state=0)[1]
print(json.dumps({"judgments": len(nodes), "prepared_s": prepared, "seconds": time.perf_counter() - clock,
                  "cpu_seconds": cpu_seconds() - cpu, "values": sorted(values.tolist(), reverse=True)}))
