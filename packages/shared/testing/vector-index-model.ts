import type { AssetPoint, Deletion, PictureWrite, RecordWrite } from '../src/ports/vector-index.ts';

/** One step of a writer, in the order of nothing: the model's outcome depends on versions alone. */
export type Step =
  { type: 'picture'; write: PictureWrite } | { type: 'record'; write: RecordWrite } | { type: 'delete'; write: Deletion };

/** What an index must hold of a point, as far as it does not depend on the order in which the steps came. */
export type Outcome = Pick<
  AssetPoint,
  | 'assetId'
  | 'object'
  | 'sha256'
  | 'records'
  | 'deleted'
  | 'deletedBecause'
  | 'imageVersion'
  | 'recordVersion'
  | 'hasImage'
  | 'hasText'
> & { vectors: { image?: number[]; text?: number[] } };

/**
 * The reference: each half of a point is a register whose newest step wins, and a deletion is a step of both halves. Versions
 * of one asset must differ between steps of the same half.
 */
export function expectedOutcomes(steps: Step[]): Map<string, Outcome> {
  const byAsset = Map.groupBy(steps, (step) => step.write.assetId);
  return new Map([...byAsset].map(([assetId, own]) => [assetId, expectedOutcome(assetId, own)]));
}

function expectedOutcome(assetId: string, steps: Step[]): Outcome {
  const image = newest(steps.filter((step) => step.type !== 'record'));
  const record = newest(steps.filter((step) => step.type !== 'picture'));
  const hasImage = image?.type === 'picture';
  const hasRecord = record?.type === 'record';
  const place = steps.map((step) => step.write.object).find((object) => object !== null);
  const eTag = image && image.type !== 'record' ? (image.write.object?.eTag ?? null) : null;
  return {
    assetId,
    object: place ? { bucket: place.bucket, key: place.key, eTag } : null,
    sha256: hasImage ? image.write.sha256 : null,
    records: hasRecord ? record.write.records : [],
    deleted: !hasImage && !hasRecord,
    deletedBecause: !hasImage && record?.type === 'delete' ? record.write.reason : null,
    imageVersion: image ? versionOf(image) : 0,
    recordVersion: record ? versionOf(record) : 0,
    hasImage,
    hasText: hasRecord && record.write.vector !== null,
    vectors: {
      ...(hasImage && { image: [...image.write.vector] }),
      ...(hasRecord && record.write.vector && { text: [...record.write.vector] }),
    },
  };
}

function versionOf(step: Step): number {
  if (step.type === 'picture') return step.write.imageVersion;
  return step.type === 'record' ? step.write.recordVersion : step.write.version;
}

function newest(steps: Step[]): Step | undefined {
  return steps.toSorted((a, b) => versionOf(b) - versionOf(a))[0];
}

/** The same view of a point that an index returned with its vectors. */
export function outcomeOf(point: AssetPoint): Outcome {
  const { assetId, object, sha256, records, deleted, deletedBecause, imageVersion, recordVersion, hasImage, hasText, vectors } =
    point;
  return {
    assetId,
    object,
    sha256,
    records,
    deleted,
    deletedBecause,
    imageVersion,
    recordVersion,
    hasImage,
    hasText,
    vectors: { ...(vectors?.image && { image: [...vectors.image] }), ...(vectors?.text && { text: [...vectors.text] }) },
  };
}
