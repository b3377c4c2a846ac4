/** Words that say nothing about what is sought, as the analyser writes them (stems, Han bigrams). */
const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    'a an the and or of to in on at by for from with without as is are was were be been am do doe did does can could will would shall ' +
    'should may might must have has had i me my we us our you your he she it its they them their this that these those there here ' +
    'what which who whom whose where when whi why how ani any some no not if then than so too veri very just into onto about ' +
    'show find give get look want need pleas please ' +
    '是 在 和 与 或 有 我 你 他 她 它 这 那 了 吧 啊 请 什么 怎么 哪个 哪些 哪里 这个 那个 这些 那些 一个 一些 是否 能否 可以 有没 没有'
  ).split(' '),
);

export function isStopWord(token: string): boolean {
  return STOP_WORDS.has(token);
}
