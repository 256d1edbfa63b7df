"""Translates captions by the local DeepL server in a process of its own, one line to say that it has begun.

python translating.py SERVER_URL CACHE COUNT
"""

import sys
from pathlib import Path

from clip_italian.corpus.translation import TranslationPlan, open_translator

if __name__ == "__main__":
    url, cache, count = sys.argv[1:]
    texts = [f"A dog number {i} runs on the beach" for i in range(int(count))]
    with open_translator(TranslationPlan(server_url=url, first_wait_s=0.01), Path(cache), Path()) as translator:
        print("begun", flush=True)
        print(len(translator.translate(texts)), flush=True)
