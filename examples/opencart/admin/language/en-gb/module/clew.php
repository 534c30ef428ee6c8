<?php
$_['heading_title'] = 'clew';
$_['text_extension'] = 'Extensions';
$_['text_success'] = 'Saved.';
$_['entry_url'] = 'Address';
$_['entry_secret'] = 'Secret';
$_['error_permission'] = 'You may not change this module.';
