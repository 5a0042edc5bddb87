// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.os.Build
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyProperties
import dev.tocsin.LockedException
import dev.tocsin.UnlockKey
import java.security.GeneralSecurityException
import java.security.KeyPairGenerator
import java.security.KeyStore
import java.security.PrivateKey
import java.security.ProviderException
import java.security.Signature
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec

/** The key of the system's key store that signs while the phone is unlocked. There is none before Android 9. */
internal object KeystoreUnlockKey : UnlockKey {
    private const val ALIAS = "tocsin-unlock"

    override fun publicKey(): ByteArray? {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.P) return null
        return try {
            point((store().getCertificate(ALIAS)?.publicKey ?: make()) as ECPublicKey)
        } catch (_: GeneralSecurityException) {
            null // a phone without it acknowledges, and does the rest in the app
        } catch (_: ProviderException) {
            null // as above: key stores of some makers fail like this
        }
    }

    override fun sign(text: ByteArray): ByteArray =
        try {
            val key = store().getKey(ALIAS, null) as? PrivateKey ?: throw LockedException("this phone has no key that proves that it is unlocked")
            Signature.getInstance("SHA256withECDSA").run {
                initSign(key)
                update(text)
                sign()
            }
        } catch (e: GeneralSecurityException) {
            throw LockedException("the phone is locked: ${e.message}")
        } catch (e: ProviderException) {
            throw LockedException("the phone's key store does not sign: ${e.message}")
        }

    private fun store() = KeyStore.getInstance(KEY_STORE).apply { load(null) }

    private fun make() = KeyPairGenerator.getInstance(KeyProperties.KEY_ALGORITHM_EC, KEY_STORE).run {
        initialize(
            KeyGenParameterSpec.Builder(ALIAS, KeyProperties.PURPOSE_SIGN)
                .setAlgorithmParameterSpec(ECGenParameterSpec("secp256r1"))
                .setDigests(KeyProperties.DIGEST_SHA256)
                .apply { if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.P) setUnlockedDeviceRequired(true) }
                .build(),
        )
        generateKeyPair().public
    }

    private fun point(key: ECPublicKey): ByteArray = byteArrayOf(4) + bytes32(key.w.affineX.toByteArray()) + bytes32(key.w.affineY.toByteArray())

    private fun bytes32(bytes: ByteArray) = if (bytes.size > 32) bytes.copyOfRange(bytes.size - 32, bytes.size) else ByteArray(32 - bytes.size) + bytes
}
