// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import java.math.BigInteger
import java.nio.ByteBuffer
import java.security.AlgorithmParameters
import java.security.GeneralSecurityException
import java.security.KeyFactory
import java.security.KeyPairGenerator
import java.security.PrivateKey
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec
import java.security.spec.ECParameterSpec
import java.security.spec.ECPoint
import java.security.spec.ECPublicKeySpec
import java.security.spec.PKCS8EncodedKeySpec
import java.util.Base64
import javax.crypto.Cipher
import javax.crypto.KeyAgreement
import javax.crypto.Mac
import javax.crypto.spec.GCMParameterSpec
import javax.crypto.spec.SecretKeySpec

/** What was sealed for this phone: texts that take the place of those in the clear. */
public class SealedText internal constructor(
    public val title: String,
    public val subtitle: String,
    public val body: String,
    public val severity: String,
    public val extra: Map<String, String>,
    /** What a link says, and where it leads: https only. An app opens no other link of a push. */
    public val links: List<Link>,
    internal val actionToken: String,
) {
    /** A link of a page. */
    public class Link internal constructor(public val text: String, public val url: String)

    internal companion object {
        fun read(json: ByteArray): SealedText? {
            val it = parseObject(String(json, Charsets.UTF_8)) ?: return null
            fun text(key: String) = it[key]?.takeIf { v -> v.isJsonPrimitive }?.asString.orEmpty()
            val links = it["links"]?.takeIf { v -> v.isJsonArray }?.asJsonArray?.toList().orEmpty()
                .filter { v -> v.isJsonObject }
                .map { v -> v.asJsonObject.texts() }
                .map { v -> Link(v["text"].orEmpty(), v["url"].orEmpty()) }
                .filter { v -> v.url.startsWith("https://") }
            return SealedText(
                text("title"), text("subtitle"), text("body"), text("s"),
                it["m"]?.takeIf { v -> v.isJsonObject }?.asJsonObject?.texts().orEmpty(), links, text("a"),
            )
        }
    }
}

/** What a sealed text is bound to: in any other push it does not open. */
internal class Binding(
    private val delivery: String,
    private val incident: String,
    private val device: String,
    private val key: String,
    private val deadline: Long, // Unix seconds
) {
    fun aad(): ByteArray {
        val parts = listOf(delivery, incident, device, key, deadline.toString()).map { it.toByteArray() }
        val out = ByteBuffer.allocate(parts.sumOf { 4 + it.size })
        for (part in parts) out.putInt(part.size).put(part)
        return out.array()
    }
}

/**
 * HPKE in base mode (RFC 9180), the opening half, with the one suite that tocsin seals by:
 * DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM. All of its primitives are the platform's.
 */
internal object Seal {
    private const val POINT = 65 // an uncompressed point of P-256
    private const val STEP = 512
    private val INFO = "tocsin-push-v1".toByteArray()
    private val KEM = byteArrayOf(0x00, 0x10)
    private val KEM_SUITE = "KEM".toByteArray() + KEM
    private val SUITE = "HPKE".toByteArray() + KEM + byteArrayOf(0x00, 0x01) + byteArrayOf(0x00, 0x01)
    private val VERSION = "HPKE-v1".toByteArray()
    private val CURVE: ECParameterSpec by lazy {
        AlgorithmParameters.getInstance("EC").apply { init(ECGenParameterSpec("secp256r1")) }.getParameterSpec(ECParameterSpec::class.java)
    }

    /** A new pair: PKCS #8, and the uncompressed point. */
    fun pair(): Pair<ByteArray, ByteArray> {
        val pair = KeyPairGenerator.getInstance("EC").apply { initialize(ECGenParameterSpec("secp256r1")) }.generateKeyPair()
        return pair.private.encoded to point(pair.public as ECPublicKey)
    }

    fun privateKey(pkcs8: ByteArray): PrivateKey = KeyFactory.getInstance("EC").generatePrivate(PKCS8EncodedKeySpec(pkcs8))

    /** The public key as the server takes it: an uncompressed point, 65 bytes. */
    fun point(key: ECPublicKey): ByteArray =
        byteArrayOf(4) + bytes32(key.w.affineX) + bytes32(key.w.affineY)

    /** Opens [sealed] (base64), or throws [GeneralSecurityException]. */
    fun open(sealed: String, private: PrivateKey, public: ByteArray, aad: ByteArray): ByteArray {
        val all = try {
            Base64.getDecoder().decode(sealed)
        } catch (e: IllegalArgumentException) {
            throw GeneralSecurityException("the sealed text is no base64", e)
        }
        if (all.size <= POINT + 16) throw GeneralSecurityException("the sealed text is cut short")
        val enc = all.copyOf(POINT)
        val shared = decapsulate(enc, private, public)
        val context = byteArrayOf(0) + extract(SUITE, ByteArray(0), "psk_id_hash", ByteArray(0)) + extract(SUITE, ByteArray(0), "info_hash", INFO)
        val secret = extract(SUITE, shared, "secret", ByteArray(0))
        val key = expand(SUITE, secret, "key", context, 16)
        val nonce = expand(SUITE, secret, "base_nonce", context, 12)
        val cipher = Cipher.getInstance("AES/GCM/NoPadding")
        cipher.init(Cipher.DECRYPT_MODE, SecretKeySpec(key, "AES"), GCMParameterSpec(128, nonce))
        cipher.updateAAD(aad)
        return unpad(cipher.doFinal(all, POINT, all.size - POINT))
    }

    private fun decapsulate(enc: ByteArray, private: PrivateKey, public: ByteArray): ByteArray {
        val dh = KeyAgreement.getInstance("ECDH").run {
            init(private)
            doPhase(publicKey(enc), true)
            generateSecret()
        }
        return expand(KEM_SUITE, extract(KEM_SUITE, ByteArray(0), "eae_prk", dh), "shared_secret", enc + public, 32)
    }

    private fun publicKey(point: ByteArray): ECPublicKey {
        if (point[0].toInt() != 4) throw GeneralSecurityException("the key is no uncompressed point")
        val x = BigInteger(1, point.copyOfRange(1, 33))
        val y = BigInteger(1, point.copyOfRange(33, 65))
        // A point off the curve would give away bits of the private key; not every provider looks.
        val p = (CURVE.curve.field as java.security.spec.ECFieldFp).p
        val on = x < p && y < p && (y * y - (x * x * x + CURVE.curve.a * x + CURVE.curve.b)).mod(p).signum() == 0
        if (!on) throw GeneralSecurityException("the key is no point of the curve")
        return KeyFactory.getInstance("EC").generatePublic(ECPublicKeySpec(ECPoint(x, y), CURVE)) as ECPublicKey
    }

    private fun extract(suite: ByteArray, salt: ByteArray, label: String, ikm: ByteArray): ByteArray =
        hmac(salt.ifEmpty { ByteArray(32) }, VERSION + suite + label.toByteArray() + ikm)

    // At most 32 bytes, so that one round of HKDF is all of it.
    private fun expand(suite: ByteArray, secret: ByteArray, label: String, info: ByteArray, length: Int): ByteArray =
        hmac(secret, byteArrayOf(0, length.toByte()) + VERSION + suite + label.toByteArray() + info + byteArrayOf(1)).copyOf(length)

    private fun hmac(key: ByteArray, text: ByteArray): ByteArray =
        Mac.getInstance("HmacSHA256").apply { init(SecretKeySpec(key, "HmacSHA256")) }.doFinal(text)

    private fun unpad(padded: ByteArray): ByteArray {
        if (padded.isEmpty() || padded.size % STEP != 0) throw GeneralSecurityException("the text is not filled up to $STEP bytes")
        val length = ByteBuffer.wrap(padded).short.toInt() and 0xffff
        if (length > padded.size - 2) throw GeneralSecurityException("the text is shorter than it says")
        return padded.copyOfRange(2, 2 + length)
    }

    private fun bytes32(n: BigInteger): ByteArray {
        val bytes = n.toByteArray()
        return if (bytes.size > 32) bytes.copyOfRange(bytes.size - 32, bytes.size) else ByteArray(32 - bytes.size) + bytes
    }

    private fun ByteArray.ifEmpty(other: () -> ByteArray): ByteArray = if (isEmpty()) other() else this
}
