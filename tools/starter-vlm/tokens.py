"""The starter's tokenizer and chat template."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "<|im_start|>", "<|im_end|>"]
IMAGE = "<image>"
VOCABULARY = 2_048
CONTEXT = 2_048

# ChatML. The pipeline's rules are what the model was trained for, so that only those that change from question to question are shown, and no fences: within
# them no line can begin with a `<` that touches what follows it.
CHAT_TEMPLATE = """{%- set rules = namespace(text='') -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{%- set said = namespace(text='') -%}
{%- if message['content'] is string -%}{%- set said.text = message['content'] -%}
{%- else -%}{%- for part in message['content'] -%}{%- if part['type'] == 'text' -%}{%- set said.text = said.text + part['text'] + '\\n' -%}{%- endif -%}{%- endfor -%}
{%- endif -%}
{%- if 'numbered steps' in said.text -%}{%- set rules.text = rules.text + 'Show the steps.\\n' -%}{%- endif -%}
{%- for line in said.text.split('\\n') -%}{%- if line.startswith('Answer in this language') -%}{%- set rules.text = rules.text + line + '\\n' -%}{%- endif -%}{%- endfor -%}
{%- else -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}{%- if message['role'] == 'user' -%}{{- '\\n' + rules.text -}}{%- endif -%}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{{- '<image>\\n' -}}
{%- elif part['type'] == 'text' -%}
{%- for line in part['text'].split('\\n') -%}{%- if not (line.startswith('<') and line.endswith('>')) -%}{{- line + '\\n' -}}{%- endif -%}{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{%- if message['role'] == 'user' -%}{{- rules.text -}}{%- endif -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""


def make_tokenizer(corpus):
    tok = Tokenizer(models.BPE(unk_token="<unk>"))
    # Each digit is a token: numbers are read and written digit by digit.
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tok.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tok, pad_token="<pad>", bos_token="<s>", eos_token="<|im_end|>", unk_token="<unk>",
        additional_special_tokens=["<image>", "<|im_start|>"], model_max_length=CONTEXT, chat_template=CHAT_TEMPLATE,
    )
