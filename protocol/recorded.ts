/** For tests: the recorded messages of OpenSSH's programs, decoded. */
import { type Vector, vectors } from "../fixtures/vectors/index.ts";
import { decodeReply, type Reply } from "./replies.ts";
import { decodeRequest, type Request, type RequestOf } from "./requests.ts";

/** A recorded message with its decoded request. */
type Recorded<Type extends Request["type"]> = Vector & {
  readonly request: RequestOf<Type>;
};

/** All recorded messages. */
export const recordings = vectors();

/** The recorded requests of one type. */
export function recorded<Type extends Request["type"]>(type: Type): Recorded<Type>[] {
  const found: Recorded<Type>[] = [];
  for (const vector of recordings) {
    if (vector.direction !== "request") continue;
    const request = decodeRequest(vector.bytes);
    if (isOf(request, type)) found.push({ ...vector, request });
  }
  return found;
}

/** The reply to the request with this name. */
export function recordedReply(name: string): Reply {
  const vector = recordings.find((it) => it.name === name && it.direction === "reply");
  if (vector === undefined) throw new Error(`no reply to "${name}"`);
  return decodeReply(vector.bytes);
}

function isOf<Type extends Request["type"]>(
  request: Request,
  type: Type,
): request is RequestOf<Type> {
  return request.type === type;
}
