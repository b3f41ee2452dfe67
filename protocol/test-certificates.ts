/** For tests: encoding of certificates. */
import {
  type Certificate,
  type CertificateOption,
  certificateAlgorithm,
  certificateTypes,
} from "./certificate.ts";
import { writeKeyFields } from "./public-key.ts";
import { Writer } from "./wire.ts";

/** Encodes a certificate blob; the inverse of `decodeCertificate`. */
export function encodeCertificate(certificate: Certificate): Buffer {
  return writeSigned(certificate).string(certificate.signature).finish();
}

/** The bytes that the CA signs: all that precede the signature. */
export function signedPart(certificate: Omit<Certificate, "signature">): Buffer {
  return writeSigned(certificate).finish();
}

function writeSigned(certificate: Omit<Certificate, "signature">): Writer {
  const writer = new Writer(1024).text(certificateAlgorithm(certificate.key));
  writer.string(certificate.nonce);
  writeKeyFields(writer, certificate.key);
  const { serial, type, keyId } = certificate;
  writer.uint64(serial).uint32(certificateTypes[type]).text(keyId);
  const principals = new Writer();
  for (const principal of certificate.principals) principals.text(principal);
  return writer
    .string(principals.finish())
    .uint64(certificate.validAfter)
    .uint64(certificate.validBefore)
    .string(encodeOptions(certificate.criticalOptions))
    .string(encodeOptions(certificate.extensions))
    .string(certificate.reserved)
    .string(certificate.caKey);
}

function encodeOptions(options: readonly CertificateOption[]): Buffer {
  const writer = new Writer();
  for (const { name, data } of options) writer.text(name).string(data);
  return writer.finish();
}
