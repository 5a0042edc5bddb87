// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.content.Context
import android.os.UserManager
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyProperties
import dev.tocsin.FileStorage
import dev.tocsin.LockedException
import dev.tocsin.Storage
import java.io.File
import java.io.IOException
import java.security.GeneralSecurityException
import java.security.KeyStore
import java.security.ProviderException
import javax.crypto.AEADBadTagException
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec

/** The two disks of a phone. Neither is in a backup: another phone is another device. */
internal object Disks {
    /** Readable as soon as the phone runs: nothing in it reads an incident. */
    fun open(context: Context): Storage =
        FileStorage(File(context.createDeviceProtectedStorageContext().noBackupFilesDir, "tocsin"))

    /** Readable after the first unlock, and encrypted by a key that never leaves the phone. */
    fun secret(context: Context): Storage {
        val users = context.service<UserManager>()
        return Encrypted(Unlocked(users) { FileStorage(File(context.noBackupFilesDir, "tocsin")) })
    }
}

/** A storage that is there after the first unlock; until then [make] is not called. */
private class Unlocked(private val users: UserManager, make: () -> Storage) : Storage {
    private val storage by lazy(make)

    override fun read(name: String): ByteArray? = unlocked().read(name)

    override fun write(name: String, content: ByteArray) = unlocked().write(name, content)

    override fun delete(name: String) = unlocked().delete(name)

    private fun unlocked(): Storage {
        if (!users.isUserUnlocked) throw LockedException("the phone was not unlocked since it was started")
        return storage
    }
}

/** Encrypts what is kept, by a key of the system's key store. */
private class Encrypted(private val storage: Storage) : Storage {
    override fun read(name: String): ByteArray? {
        val kept = storage.read(name) ?: return null
        return try {
            val cipher = Cipher.getInstance(TRANSFORMATION)
            cipher.init(Cipher.DECRYPT_MODE, key(), GCMParameterSpec(128, kept, 0, IV))
            cipher.updateAAD(name.toByteArray())
            cipher.doFinal(kept, IV, kept.size - IV)
        } catch (_: AEADBadTagException) {
            null // the key is another: the owner has reset the phone's lock, or the app's data came from elsewhere
        } catch (_: IndexOutOfBoundsException) {
            null
        } catch (_: IllegalArgumentException) {
            null // cut short
        } catch (e: GeneralSecurityException) {
            throw IOException("the phone's key store does not open $name", e)
        } catch (e: ProviderException) {
            throw IOException("the phone's key store does not open $name", e)
        }
    }

    override fun write(name: String, content: ByteArray) {
        val sealed = try {
            val cipher = Cipher.getInstance(TRANSFORMATION)
            cipher.init(Cipher.ENCRYPT_MODE, key())
            cipher.updateAAD(name.toByteArray())
            cipher.iv + cipher.doFinal(content)
        } catch (e: GeneralSecurityException) {
            throw IOException("the phone's key store does not seal $name", e)
        } catch (e: ProviderException) {
            throw IOException("the phone's key store does not seal $name", e)
        }
        storage.write(name, sealed)
    }

    override fun delete(name: String) = storage.delete(name)

    @Synchronized
    private fun key(): SecretKey {
        val store = KeyStore.getInstance(KEY_STORE).apply { load(null) }
        (store.getKey(ALIAS, null) as? SecretKey)?.let { return it }
        return KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, KEY_STORE).run {
            init(
                KeyGenParameterSpec.Builder(ALIAS, KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT)
                    .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
                    .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
                    .build(),
            )
            generateKey()
        }
    }

    private companion object {
        const val ALIAS = "tocsin"
        const val IV = 12
        const val TRANSFORMATION = "AES/GCM/NoPadding"
    }
}

internal const val KEY_STORE = "AndroidKeyStore"
