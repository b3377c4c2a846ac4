import type { KeptPrompt } from '@sightline/shared/contracts/feedback';
import type { BuiltPrompt } from './build-prompt.ts';
import type { ModelProfile } from './generator.ts';

/** A prompt as it is kept with its answer: word for word, and of pictures where their bytes are. */
export function keptPromptOf(built: BuiltPrompt, profile: ModelProfile): KeptPrompt {
  let pictures = 0;
  return {
    system: built.system,
    content: built.content.map((part) => (part.type === 'text' ? part.text : pictures++)),
    sources: built.sources.map(({ n, citation: { assetId, itemId, title } }) => ({ n, assetId, itemId, title })),
    pictures: built.pictures.map(({ of, picture: { object, shown } }) => ({
      source: of === 'question' ? 0 : of,
      object: { bucket: object.bucket, key: object.key, eTag: object.eTag },
      widthPx: shown.frame.widthPx,
      heightPx: shown.frame.heightPx,
      orientation: shown.frame.orientation,
    })),
    boxFrame: profile.boxFrame,
    imageSidePx: profile.imageSidePx,
    structured: built.structured,
  };
}
