import { expect, test } from '@jest/globals';
import { SightlineError } from '../runtime/errors.ts';
import { pictureView, viewLayouts } from './picture-view.ts';
import { parsePreprocessing } from './preprocessing.ts';

const codeOf = (read: () => unknown) => {
  try {
    read();
    return 'none';
  } catch (error) {
    return error instanceof SightlineError ? error.code : error;
  }
};

test('old and new CLIP files say the same', () => {
  const old = parsePreprocessing({
    crop_size: 224,
    do_center_crop: true,
    do_resize: true,
    feature_extractor_type: 'CLIPFeatureExtractor',
    resample: 3,
    size: 224,
  });
  const current = parsePreprocessing({
    crop_size: { height: 224, width: 224 },
    size: { shortest_edge: 224 },
    image_processor_type: 'CLIPImageProcessor',
    processor_class: 'CLIPProcessor',
    do_convert_rgb: true,
  });
  expect(old).toEqual(current);
  expect(old).toMatchObject({ resize: { rule: 'shortest', edge: 224 }, kernel: 'cubic', input: { widthPx: 224, heightPx: 224 } });
});

test('an integer size is square for ViT and the short side for CLIP', () => {
  expect(parsePreprocessing({ image_processor_type: 'ViTFeatureExtractor', size: 32 }).resize).toEqual({
    rule: 'exact',
    size: { widthPx: 32, heightPx: 32 },
  });
  expect(parsePreprocessing({ image_processor_type: 'CLIPImageProcessor', size: 32 }).resize).toEqual({
    rule: 'shortest',
    edge: 32,
  });
});

test('default_to_square says what an integer size means', () => {
  expect(parsePreprocessing({ size: 32, crop_size: 32, default_to_square: true }).resize).toMatchObject({ rule: 'exact' });
});

test('switched-off steps are left out', () => {
  const plan = parsePreprocessing({ image_processor_type: 'SiglipImageProcessor', do_rescale: false, do_normalize: false });
  expect(plan).toMatchObject({ crop: null, rescaleFactor: 1, mean: [0, 0, 0], std: [1, 1, 1] });
});

test.each([
  ['an unknown setting that is switched on', { do_flip_channel_order: true }],
  ['an unknown setting with a value', { crop_pct: 0.9 }],
  ['an unknown processor', { image_processor_type: 'DonutImageProcessor' }],
  ['a resample that libvips lacks', { resample: 4 }],
  ['a size of unknown form', { size: { max_height: 5, max_width: 5 } }],
  ['pictures of no fixed size', { do_center_crop: false }],
  ['a deviation of zero', { image_std: [0.5, 0, 0.5] }],
  ['padding to no size', { do_pad: true }],
  ['an absurd size', { size: 1_000_000 }],
])('%s is an invalid pack, never ignored', (_, config) => {
  expect(codeOf(() => parsePreprocessing({ image_processor_type: 'CLIPImageProcessor', ...config }))).toBe('pack_invalid');
});

test('unknown settings that are off change nothing', () => {
  expect(codeOf(() => parsePreprocessing({ do_flip_channel_order: false, size_divisor: null }))).toBe('none');
});

test('the long side is truncated and the crop floored, as in transformers', () => {
  const plan = parsePreprocessing({ size: 64, crop_size: 64 });
  expect(pictureView(plan, { widthPx: 333, heightPx: 101 })).toMatchObject({
    resized: { widthPx: 211, heightPx: 64 },
    source: { leftPx: 73, topPx: 0, widthPx: 64, heightPx: 64 },
  });
});

test('a crop larger than the picture is padded with black, the odd pixel before', () => {
  const plan = parsePreprocessing({ do_resize: false, crop_size: 10 });
  expect(pictureView(plan, { widthPx: 7, heightPx: 20 })).toMatchObject({
    leftPx: 2,
    topPx: 0,
    fill: [0, 0, 0],
    source: { leftPx: 0, topPx: 5, widthPx: 7, heightPx: 10 },
  });
});

test('a letterbox keeps the whole picture, where transformers puts it or centred', () => {
  const config = {
    image_processor_type: 'ViTImageProcessor',
    size: { longest_edge: 64 },
    do_pad: true,
    pad_size: { height: 64, width: 64 },
  };
  expect(pictureView(parsePreprocessing(config), { widthPx: 200, heightPx: 100 })).toMatchObject({
    resized: { widthPx: 64, heightPx: 32 },
    leftPx: 0,
    topPx: 0,
    fill: [128, 128, 128],
  });
  const centred = parsePreprocessing(config, { position: 'center', colour: [1, 2, 3] });
  expect(pictureView(centred, { widthPx: 200, heightPx: 100 })).toMatchObject({ topPx: 16, fill: [1, 2, 3] });
});

test('scales are covered by the fewest evenly spaced tiles', () => {
  const plan = parsePreprocessing({});
  const layouts = viewLayouts(plan, { scales: [224, 336, 448], fuse: 'mean', interpolates_positions: false });
  expect(layouts.map(({ tiles }) => tiles.length)).toEqual([1, 4, 4]);
  expect(layouts[1]!.tiles).toEqual([0, 112].flatMap((topPx) => [0, 112].map((leftPx) => ({ leftPx, topPx }))));
  const whole = viewLayouts(plan, { scales: [224, 336], fuse: 'mean', interpolates_positions: true });
  expect(whole[1]).toMatchObject({ tile: { widthPx: 336, heightPx: 336 }, tiles: [{ leftPx: 0, topPx: 0 }] });
});
