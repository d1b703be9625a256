#!/usr/bin/env python
"""Export a pre-trained encoder to timm, Hugging Face or plain mmpretrain, as safetensors."""

import argparse
import json

from mixae.checkpoints.export import LAYOUTS, export
from mixae.engine.tool import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='pre-training checkpoint as it was saved')
    parser.add_argument('--to', required=True, choices=LAYOUTS, help='the library to export to')
    parser.add_argument(
        '--out', required=True, help='file to write (.safetensors); for huggingface a folder'
    )
    parser.add_argument(
        '--num-heads', type=int, help='number of attention heads, if they are not 64 channels wide'
    )
    args = parser.parse_args()
    out = export(args.checkpoint, args.to, args.out, num_heads=args.num_heads)
    print(f'The encoder of {args.checkpoint} is in {out}, for {args.to}.')
    if args.to == 'huggingface':
        heads = json.loads((out / 'config.json').read_text())['num_attention_heads']
        print(f'Its config says {heads} attention heads (--num-heads), which weights do not tell.')


if __name__ == '__main__':
    run_tool(main)
