// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.security.keystore.KeyGenParameterSpec
import java.io.InputStream
import java.io.OutputStream
import java.security.Key
import java.security.KeyPair
import java.security.KeyPairGenerator
import java.security.KeyPairGeneratorSpi
import java.security.KeyStoreSpi
import java.security.Provider
import java.security.PublicKey
import java.security.SecureRandom
import java.security.Security
import java.security.cert.Certificate
import java.security.spec.AlgorithmParameterSpec
import java.util.Collections
import java.util.Date
import java.util.Enumeration
import javax.crypto.KeyGenerator
import javax.crypto.KeyGeneratorSpi
import javax.crypto.SecretKey

/** The system's key store, which Robolectric lacks: keys in memory. */
internal class FakeKeyStore : Provider(KEY_STORE, "1", "in memory") {
    init {
        put("KeyStore.$KEY_STORE", Store::class.java.name)
        put("KeyGenerator.AES", Aes::class.java.name)
        put("KeyPairGenerator.EC", Ec::class.java.name)
    }

    class Store : KeyStoreSpi() {
        override fun engineGetKey(alias: String, password: CharArray?): Key? = secrets[alias] ?: pairs[alias]?.private

        override fun engineGetCertificate(alias: String): Certificate? = pairs[alias]?.let { Holder(it.public) }

        override fun engineLoad(stream: InputStream?, password: CharArray?) {}

        override fun engineGetCertificateChain(alias: String): Array<Certificate>? = null

        override fun engineGetCreationDate(alias: String): Date? = null

        override fun engineSetKeyEntry(alias: String, key: Key, password: CharArray?, chain: Array<Certificate>?) = error("not used")

        override fun engineSetKeyEntry(alias: String, key: ByteArray, chain: Array<Certificate>?) = error("not used")

        override fun engineSetCertificateEntry(alias: String, cert: Certificate) = error("not used")

        override fun engineDeleteEntry(alias: String) {
            secrets.remove(alias)
        }

        override fun engineAliases(): Enumeration<String> = Collections.enumeration(secrets.keys)

        override fun engineContainsAlias(alias: String) = alias in secrets

        override fun engineSize() = secrets.size

        override fun engineIsKeyEntry(alias: String) = alias in secrets

        override fun engineIsCertificateEntry(alias: String) = false

        override fun engineGetCertificateAlias(cert: Certificate): String? = null

        override fun engineStore(stream: OutputStream?, password: CharArray?) {}
    }

    /** A certificate that is its public key, as nobody asks for more. */
    private class Holder(private val key: PublicKey) : Certificate("fake") {
        override fun getPublicKey() = key

        override fun getEncoded(): ByteArray = key.encoded

        override fun verify(key: PublicKey) {}

        override fun verify(key: PublicKey, provider: String) {}

        override fun toString() = "fake"
    }

    class Aes : KeyGeneratorSpi() {
        private var alias = ""

        override fun engineInit(spec: AlgorithmParameterSpec, random: SecureRandom?) {
            alias = (spec as KeyGenParameterSpec).keystoreAlias
        }

        override fun engineInit(random: SecureRandom?) = error("not used")

        override fun engineInit(size: Int, random: SecureRandom?) = error("not used")

        override fun engineGenerateKey(): SecretKey = KeyGenerator.getInstance("AES", "SunJCE").generateKey().also { secrets[alias] = it }
    }

    class Ec : KeyPairGeneratorSpi() {
        private lateinit var spec: KeyGenParameterSpec

        override fun initialize(size: Int, random: SecureRandom?) = error("not used")

        override fun initialize(params: AlgorithmParameterSpec, random: SecureRandom?) {
            spec = params as KeyGenParameterSpec
        }

        override fun generateKeyPair(): KeyPair = KeyPairGenerator.getInstance("EC").run {
            initialize(spec.algorithmParameterSpec)
            generateKeyPair()
        }.also { pairs[spec.keystoreAlias] = it }
    }

    companion object {
        private val secrets = HashMap<String, SecretKey>()
        private val pairs = HashMap<String, KeyPair>()

        /** A phone that has just been set up. Behind the others, so that only who names it gets it. */
        fun install() {
            secrets.clear()
            pairs.clear()
            Security.removeProvider(KEY_STORE)
            Security.addProvider(FakeKeyStore())
        }
    }
}
