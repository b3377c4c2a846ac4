import { CreateBucketCommand, HeadBucketCommand, type S3Client } from '@aws-sdk/client-s3';
import { SightlineError } from '../runtime/errors.ts';
import { nameOf, s3Error, statusOf } from './s3-object-store-error.ts';

/** Finds the system bucket or makes it. Errors: `config_invalid` (no credentials, somebody else's bucket) and those of s3Error. */
export async function openSystemBucket(client: S3Client, bucket: string): Promise<void> {
  try {
    await client.send(new HeadBucketCommand({ Bucket: bucket }));
    return;
  } catch (error) {
    if (statusOf(error) !== 404) throw openingError(error, bucket, 'opened');
  }
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
  } catch (error) {
    // Another service of the stack was quicker.
    if (nameOf(error) !== 'BucketAlreadyOwnedByYou') throw openingError(error, bucket, 'created');
  }
}

function openingError(error: unknown, bucket: string, attempted: string): SightlineError {
  const name = nameOf(error);
  if (name === 'CredentialsProviderError')
    return new SightlineError('config_invalid', 'There are no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.');
  if (name === 'BucketAlreadyExists')
    return new SightlineError('config_invalid', `The system bucket "${bucket}" belongs to somebody else: choose another name.`);
  const { code, detail } = s3Error(error);
  return new SightlineError(code, `The system bucket "${bucket}" could not be ${attempted}. ${detail ?? ''}`, { cause: error });
}
