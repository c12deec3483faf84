#!/usr/bin/env bash
umask 077
openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj "/CN=$(uname -n)" \
    -keyout /etc/pki/dovecot/private/dovecot.pem -out /etc/pki/dovecot/certs/dovecot.pem
